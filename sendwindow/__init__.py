"""The package that a backend installs to put send jobs on Sendwindow's queue.

`from sendwindow import Producer, SendMessage` is all that a backend needs. A name is loaded from
its module when it is first used, so that `import policies`, which needs the vocabulary, does not
load redis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sendwindow.codec import arq_deserializer, arq_serializer
    from sendwindow.contract import Freeform, SendMessage, Template
    from sendwindow.errors import (
        BadStoreUrl,
        Fault,
        IdConflict,
        InvalidMessage,
        NotDurable,
        OtherLoop,
        QueueFull,
        QueueScope,
        SendwindowError,
        StoreUnavailable,
    )
    from sendwindow.producer import Producer
    from sendwindow.results import (
        CampaignStatus,
        CancelAnswer,
        MessageStatus,
        NotQueued,
        Receipt,
        SendSummary,
    )
    from sendwindow.sync import Producer as SyncProducer
    from sendwindow.vocabulary import OnUnknown, Priority, Purpose, Reason, Stage, WhenClosed
else:
    _MODULES = {
        "codec": ("arq_deserializer", "arq_serializer"),
        "contract": ("Freeform", "SendMessage", "Template"),
        "errors": (
            "BadStoreUrl",
            "Fault",
            "IdConflict",
            "InvalidMessage",
            "NotDurable",
            "OtherLoop",
            "QueueFull",
            "QueueScope",
            "SendwindowError",
            "StoreUnavailable",
        ),
        "producer": ("Producer",),
        "results": (
            "CampaignStatus",
            "CancelAnswer",
            "MessageStatus",
            "NotQueued",
            "Receipt",
            "SendSummary",
        ),
        "sync": ("SyncProducer",),
        "vocabulary": ("OnUnknown", "Priority", "Purpose", "Reason", "Stage", "WhenClosed"),
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
    _NAME_THERE = {"SyncProducer": "Producer"}

    # Type checkers do not see this function. They would accept any name because of it.
    def __getattr__(name):
        """Load a name from its module, and keep it. Raises AttributeError for any other name."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
        found = globals()[name] = getattr(module, _NAME_THERE.get(name, name))
        return found

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "BadStoreUrl",
    "CampaignStatus",
    "CancelAnswer",
    "Fault",
    "Freeform",
    "IdConflict",
    "InvalidMessage",
    "MessageStatus",
    "NotDurable",
    "NotQueued",
    "OnUnknown",
    "OtherLoop",
    "Priority",
    "Producer",
    "Purpose",
    "QueueFull",
    "QueueScope",
    "Reason",
    "Receipt",
    "SendMessage",
    "SendSummary",
    "SendwindowError",
    "Stage",
    "StoreUnavailable",
    "SyncProducer",
    "Template",
    "WhenClosed",
    "arq_deserializer",
    "arq_serializer",
]
