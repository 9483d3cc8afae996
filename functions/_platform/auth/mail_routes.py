"""The routes of mailed links and codes."""

from starlette.routing import BaseRoute, Route

from functions._platform.auth.generate_link import generate_link
from functions._platform.auth.invite import invite
from functions._platform.auth.otp import magic_link, otp
from functions._platform.auth.reauthenticate import reauthenticate
from functions._platform.auth.recover import recover
from functions._platform.auth.resend import resend
from functions._platform.auth.verify import follow_link, verify

routes: list[BaseRoute] = [
    Route("/recover", recover, methods=["POST"]),
    Route("/otp", otp, methods=["POST"]),
    Route("/magiclink", magic_link, methods=["POST"]),
    Route("/verify", follow_link, methods=["GET"]),
    Route("/verify", verify, methods=["POST"]),
    Route("/resend", resend, methods=["POST"]),
    Route("/reauthenticate", reauthenticate, methods=["GET"]),
    Route("/invite", invite, methods=["POST"]),
    Route("/admin/generate_link", generate_link, methods=["POST"]),
]
