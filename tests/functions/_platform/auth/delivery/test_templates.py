"""The text of the mails, and the message that it becomes."""

from email.headerregistry import Address

import pytest

from functions._platform.auth.delivery.smtp import compose
from functions._platform.auth.delivery.templates import TEMPLATES, render
from tests.functions._platform.auth.delivery.smtp_server import ADMIN, LINK

SENDER = Address("Edge", addr_spec=ADMIN)


@pytest.mark.parametrize(
    "to", ["a@b.test\r\nBcc: evil@example.test", "a@b.test, c@d.test", "a@b.test>"]
)
def test_an_address_adds_no_header_and_no_recipient(to: str):
    sender = compose(render("recovery", to="a@b.test", code="1", link=LINK), SENDER)["From"]
    assert sender
    with pytest.raises(ValueError):  # noqa: PT011 - of email.headerregistry, in many words
        compose(render("recovery", to=to, code="1", link=LINK), SENDER)


@pytest.mark.parametrize("kind", TEMPLATES)
def test_each_mail_has_its_code_and_escapes_what_people_type(kind):
    typed = "<img src=x>@example.test"
    link = None if kind == "reauthentication" else LINK
    mail = render(kind, to="a@b.test", code="123456", link=link, new_email=typed)
    assert "123456" in mail.text
    assert "123456" in mail.html
    assert typed not in mail.html
    assert (LINK in mail.text) is bool(link)
