"""Derives the kind of a media file from its URL, where the file name makes it certain.

Never opens a URL.
"""

from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

from sendwindow.limits import Complaint
from sendwindow.vocabulary import Channel, MediaKind

_EXTENSIONS: Final = {
    MediaKind.IMAGE: "jpg jpeg jpe png gif bmp tif tiff svg heic heif",
    MediaKind.VIDEO: "mp4 m4v mov 3gp 3gpp avi mkv webm wmv mpg mpeg",
    MediaKind.AUDIO: "mp3 ogg oga opus amr aac m4a wav flac",
    MediaKind.DOCUMENT: "pdf doc docx xls xlsx ppt pptx odt ods odp csv txt rtf",
    MediaKind.CONTACT: "vcf vcard",
}
_KINDS: Final = MappingProxyType(
    {
        extension: kind
        for kind, extensions in _EXTENSIONS.items()
        for extension in extensions.split()
    }
)
_REFUSED: Final = "gif bmp tif tiff svg heic heif mov avi mkv webm wmv wav flac"
_NOT_ON_WHATSAPP: Final = frozenset(_REFUSED.split())
"""Extensions of images, videos and audio files that Twilio does not list for WhatsApp.

Source: Twilio, "Guidance on WhatsApp media messages", read 2026-11-20.
"""


def media_kind(url: str) -> MediaKind | None:
    """Return the kind of file by the extension at the end of the URL's path, or None.

    None means only that the URL does not show the kind: Twilio decides by the `Content-Type` that
    the server returns. The query and the fragment of the URL are ignored.
    """
    return _KINDS.get(_extension(url))


def lost_body_complaint(channel: Channel, body: str | None, url: str | None) -> Complaint | None:
    """Return what is wrong with sending `body` together with this media URL, or None.

    None means that no problem is certain. On WhatsApp only an image can carry a text. With any
    other file, Twilio drops the text and reports no error.

    Source: Twilio, "Guidance on WhatsApp media messages", read 2026-11-20.
    """
    kind = media_kind(url) if url else None
    if channel is not Channel.WHATSAPP or body is None or kind in (None, MediaKind.IMAGE):
        return None
    problem = (
        "would be lost: on WhatsApp Twilio drops the text that goes with a file of this kind "
        f"({kind})"
    )
    return problem, "send the text and the file as two messages, or give an image"


def type_complaint(channel: Channel, url: str | None) -> Complaint | None:
    """Return what is wrong with the file type that a media URL names, or None.

    None means that no problem is certain.
    """
    if (
        channel is not Channel.WHATSAPP
        or url is None
        or (extension := _extension(url)) not in _NOT_ON_WHATSAPP
    ):
        return None
    return (
        f"names a .{extension} file, which WhatsApp does not take (63019)",
        "give JPG, PNG, MP4, OGG, AAC or PDF",
    )


def _extension(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2]).partition(";")[0]
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot else ""
