"""The text of each mail: a subject, plain text, and HTML that needs no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from functions._platform.auth.delivery.message import Kind, Mail


@dataclass(frozen=True)
class Template:
    """``subject`` and ``text`` may hold {code} and {new_email}. ``action`` labels the link; None: a code alone."""

    subject: str
    heading: str
    text: str
    action: str | None


TEMPLATES: Mapping[Kind, Template] = {
    "confirmation": Template(
        "Confirm your email address",
        "Confirm your email address",
        "One step is left to finish your sign-up: confirm that this address is yours.",
        "Confirm this address",
    ),
    "invite": Template(
        "You have been invited",
        "You have been invited",
        "An account has been prepared for you. Accept the invitation to start using it.",
        "Accept the invitation",
    ),
    "recovery": Template(
        "Reset your password",
        "Reset your password",
        "A new password was asked for. Choose one on the page that opens.",
        "Choose a new password",
    ),
    "magic_link": Template(
        "Your sign-in link",
        "Sign in",
        "Follow the link, or type the code where you asked for it.",
        "Sign in",
    ),
    "email_change": Template(
        "Confirm the change of your email address",
        "Confirm the change of your email address",
        "The address of your account is to become {new_email}.",
        "Confirm the change",
    ),
    "reauthentication": Template(
        "{code} is your verification code",
        "Verification code",
        "Type this code to confirm that it is you.",
        None,
    ),
}
IGNORE = (
    "The link and the code work once and for a short time. If you did not ask for this mail, ignore it: "
    "nothing changes."
)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{subject}</title>
<base target="_blank">
<style>
body {{ margin: 0; padding: 32px 16px; font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #f4f5f7 }}
main {{ max-width: 480px; margin: 0 auto; padding: 32px; border-radius: 12px; background: #fff }}
h1 {{ margin: 0 0 16px; font-size: 22px; line-height: 1.3 }}
p {{ margin: 0 0 24px }}
a.action {{ display: inline-block; padding: 12px 20px; border-radius: 8px; color: #fff; background: #1a6e4b;
  font-weight: 600; text-decoration: none }}
.code {{ font: 600 28px/1 ui-monospace, monospace; letter-spacing: 6px }}
.small {{ margin: 0; font-size: 13px; color: #667 }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #e8eaed; background: #16181b }} main {{ background: #212429 }}
  a.action {{ background: #1f7a54 }} .small {{ color: #9aa0a8 }}
}}
</style>
</head>
<body>
<main>
<h1>{heading}</h1>
<p>{text}</p>
{link}<p>{code_label}</p>
<p class="code">{code}</p>
<p class="small">{ignore}</p>
</main>
</body>
</html>
"""


def render(kind: Kind, *, to: str, code: str, link: str | None = None, new_email: str = "") -> Mail:
    """The mail of ``kind`` to ``to``. ``link`` is None exactly where the template has no action."""
    template = TEMPLATES[kind]
    values = {"code": code, "new_email": new_email}
    subject, text = template.subject.format(**values), template.text.format(**values)
    return Mail(
        kind=kind,
        to=to,
        subject=subject,
        text=_plain(template, text, code, link),
        html=_html(template, subject, text, code, link),
        code=code,
        link=link,
    )


def _code_label(link: str | None) -> str:
    return "Or type this code:" if link else "Your code:"


def _plain(template: Template, text: str, code: str, link: str | None) -> str:
    action = [f"{template.action}:\n{link}"] if link else []
    return "\n\n".join([text, *action, f"{_code_label(link)} {code}", IGNORE]) + "\n"


def _html(template: Template, subject: str, text: str, code: str, link: str | None) -> str:
    action = (
        f'<p><a class="action" href="{escape(link)}">{escape(template.action or "")}</a></p>\n'
        if link
        else ""
    )
    return _PAGE.format(
        subject=escape(subject),
        heading=escape(template.heading),
        text=escape(text),
        link=action,
        code_label=_code_label(link),
        code=escape(code),
        ignore=escape(IGNORE),
    )
