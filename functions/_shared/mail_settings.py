"""The settings of /auth/v1's mail, under the names that Supabase's self-hosting and GoTrue give them."""

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    model_validator,
)

from functions._shared.setting_values import HostName, Names

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def _address(value: str | None) -> str | None:
    if value and not ADDRESS.fullmatch(value):
        raise ValueError("must be a mail address such as admin@example.com")
    return value


def _seconds(value: object) -> object:
    """``60``, or Go's ``60s``: the form that GoTrue reads."""
    return value.removesuffix("s") if isinstance(value, str) else value


class MailSettings(BaseModel):
    """A part of ``Settings``."""

    smtp_host: HostName | None = None
    """The SMTP server; absent: the local stack keeps mails in its mailbox, any other gateway sends none."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    """465: implicit TLS; any other: STARTTLS where the server offers it, required before a password is sent."""
    smtp_user: str | None = None
    smtp_pass: SecretStr | None = None
    smtp_admin_email: Annotated[str | None, AfterValidator(_address)] = None
    """The sender's address."""
    smtp_sender_name: str | None = None
    smtp_max_frequency: Annotated[int, BeforeValidator(_seconds), Field(ge=0)] = 60
    """Seconds between two mails of one kind to one user."""
    mailer_otp_exp: PositiveInt = 3600
    """Life of a mailed link and code in seconds."""
    mailer_secure_email_change_enabled: bool = True
    """Whether a change of address is confirmed at both addresses, not only at the new one."""
    security_update_password_require_reauthentication: bool = False
    """Whether a new password needs a mailed code, in a session older than a day."""
    additional_redirect_urls: Names = ()
    """Patterns (globs) of addresses besides ``site_url`` that ``redirect_to`` may name."""

    @model_validator(mode="after")
    def _a_sender(self) -> Self:
        if self.smtp_host and not self.smtp_admin_email:
            raise ValueError("SMTP_ADMIN_EMAIL is not set, the sender of what SMTP_HOST delivers")
        return self
