"""The table of the endpoints that are served; ``not_served`` has the others."""

from starlette.routing import BaseRoute, Route

from functions._platform.auth.endpoints import admin_users
from functions._platform.auth.endpoints.generate_link import generate_link
from functions._platform.auth.endpoints.invite import invite
from functions._platform.auth.endpoints.logout import logout
from functions._platform.auth.endpoints.otp import magic_link, otp
from functions._platform.auth.endpoints.public_info import (
    health,
    jwks,
    openid_configuration,
    settings,
)
from functions._platform.auth.endpoints.reauthenticate import reauthenticate
from functions._platform.auth.endpoints.recover import recover
from functions._platform.auth.endpoints.resend import resend
from functions._platform.auth.endpoints.signup import signup
from functions._platform.auth.endpoints.token import token
from functions._platform.auth.endpoints.user import get_user, put_user
from functions._platform.auth.endpoints.verify import follow_link, verify

routes: list[BaseRoute] = [
    Route("/health", health, methods=["GET"]),
    Route("/settings", settings, methods=["GET"]),
    Route("/.well-known/jwks.json", jwks, methods=["GET"]),
    Route("/.well-known/openid-configuration", openid_configuration, methods=["GET"]),
    Route("/signup", signup, methods=["POST"]),
    Route("/token", token, methods=["POST"]),
    Route("/user", get_user, methods=["GET"]),
    Route("/user", put_user, methods=["PUT"]),
    Route("/logout", logout, methods=["POST"]),
    Route("/admin/users", admin_users.create, methods=["POST"]),
    Route("/admin/users", admin_users.read_page, methods=["GET"]),
    Route("/admin/users/{user_id}", admin_users.read, methods=["GET"]),
    Route("/admin/users/{user_id}", admin_users.change, methods=["PUT"]),
    Route("/admin/users/{user_id}", admin_users.delete, methods=["DELETE"]),
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
