"""What a media URL leads to, as far as its file name says so for certain. Opens no URL."""

from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

from sendwindow.lengths import Complaint
from sendwindow.vocabulary import Channel, MediaKind

_EXTENSIONS: Final = {
    MediaKind.IMAGE: "jpg jpeg jpe png gif bmp tif tiff svg heic heif",
    MediaKind.VIDEO: "mp4 m4v mov 3gp 3gpp avi mkv webm wmv mpg mpeg",
    MediaKind.AUDIO: "mp3 ogg oga opus amr aac m4a wav flac",
    MediaKind.DOCUMENT: "pdf doc docx xls xlsx ppt pptx odt ods odp csv txt rtf",
    MediaKind.CONTACT: "vcf vcard",
}
_KINDS: Final = MappingProxyType(
    {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()}
)
_REFUSED: Final = "gif bmp tif tiff svg heic heif mov avi mkv webm wmv wav flac"
_NOT_ON_WHATSAPP: Final = frozenset(_REFUSED.split())
"""Pictures, films and sounds that Twilio's list for WhatsApp leaves out ("Guidance on WhatsApp media messages")."""


def media_kind(url: str) -> MediaKind | None:
    """Return the kind of file that the last part of a URL's path names by its extension, or None.

    None says nothing: Twilio goes by the `Content-Type` that the server returns. A query and a fragment name no file.
    """
    return _KINDS.get(_extension(url))


def lost_body_complaint(channel: Channel, body: str | None, url: str | None) -> Complaint | None:
    """Return what is wrong with a text that goes with this media URL, or None where nothing certainly is.

    On WhatsApp only an image carries a text; with any other file Twilio drops it without a word.
    Source: Twilio, "Guidance on WhatsApp media messages", read 2026-11-20.
    """
    kind = media_kind(url) if url else None
    if channel is not Channel.WHATSAPP or body is None or kind in (None, MediaKind.IMAGE):
        return None
    problem = f"would be lost: on WhatsApp Twilio drops the text that goes with a file of this kind ({kind})"
    return problem, "send the text and the file as two messages, or give an image"


def type_complaint(channel: Channel, url: str | None) -> Complaint | None:
    """Return what is wrong with the type of a media URL's file, or None where nothing certainly is."""
    if channel is not Channel.WHATSAPP or url is None or (extension := _extension(url)) not in _NOT_ON_WHATSAPP:
        return None
    return f"names a .{extension} file, which WhatsApp does not take (63019)", "give JPG, PNG, MP4, OGG, AAC or PDF"


def _extension(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2]).partition(";")[0]
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot else ""
