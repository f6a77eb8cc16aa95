"""Receivers as apprise has them: chats, mail, webhooks, and whatever else it knows.

apprise 1.13 imports all of its services at the first address (0.7 s and 24 MB, measured): only who
names a receiver pays for it. Its own log lines may tell addresses, and are not kept.
"""

import logging
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

from controller.daemon.courier import Send
from controller.daemon.notices import Message
from controller.notify import VARIABLE, NotifySettings, ReceiverSettings
from controller.record.redaction import hide
from controller.settings import SettingsError

if TYPE_CHECKING:
    from apprise import Apprise

TEST: Final = Message(
    severity="info",
    title="Headgate: a test",
    body="Somebody typed `headgate notify --test`: what Headgate has to tell arrives here.",
)


def senders(settings: NotifySettings) -> dict[str, Send]:
    """How to send to each receiver; SettingsError for an address that apprise does not know."""
    return {name: _sender(name, one) for name, one in settings.receivers.items()}


def _sender(name: str, receiver: ReceiverSettings) -> Send:
    with warnings.catch_warnings():
        # It imports what Python 3.13 has no more, where that is there; nothing of ours.
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - only where it is wanted

        logging.getLogger("apprise").disabled = True
        asset = AppriseAsset(
            app_id="Headgate",
            app_desc="Headgate",
            # One attempt: how often, and when, is the courier's. A redirect may lead anywhere.
            default_service_retry=0,
            http_redirects=False,
            interpret_emojis=False,
            interpret_escapes=False,
        )
        service = Apprise(asset=asset)
        address = receiver.url.get_secret_value()
        hide(address)
        known = service.add(address)
    if not known or not len(service):
        raise SettingsError(
            f"{VARIABLE}: receivers.{name}.url: apprise knows no such address, or misses a part of "
            "it: write one as its documentation does, such as slack://... or mailtos://..."
        )
    if sum(map(len, service)) > 1:
        raise SettingsError(
            f"{VARIABLE}: receivers.{name}.url: it has several targets; where one of them fails, "
            "all would be told again: name a receiver for each"
        )
    return partial(_send, service)


def _send(service: "Apprise", message: Message) -> bool:
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415

    kind = {
        "info": NotifyType.INFO,
        "warning": NotifyType.WARNING,
        "error": NotifyType.FAILURE,
    }[message.severity]
    try:
        return bool(
            service.notify(
                message.body, title=message.title, notify_type=kind, body_format=NotifyFormat.TEXT
            )
        )
    except Exception:  # noqa: BLE001 - of a hundred services, whatever it is, it was not taken
        return False
