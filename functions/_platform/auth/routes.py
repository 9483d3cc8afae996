"""The table of the core's endpoints."""

from starlette.routing import BaseRoute, Route

from functions._platform.auth import admin_users
from functions._platform.auth.logout import logout
from functions._platform.auth.public_info import health, jwks, openid_configuration, settings
from functions._platform.auth.signup import signup
from functions._platform.auth.token import token
from functions._platform.auth.user import get_user, put_user

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
]
