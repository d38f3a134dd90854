"""Names that the tests of decisions share."""

from datetime import timedelta

from sendwindow.vocabulary import Channel

WHATSAPP, MESSENGER, SMS = Channel.WHATSAPP, Channel.MESSENGER, Channel.SMS


MARGIN = timedelta(minutes=5)
