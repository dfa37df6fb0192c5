"""From messages to what a handler's annotation asks for, and back; compiled once, at the start."""

from toolkit.runtime.messages.faces import Messages, Mismatch, ReplyFace, RequestFace, can_be_message
from toolkit.runtime.messages.values import ConversionError

__all__ = ["ConversionError", "Messages", "Mismatch", "ReplyFace", "RequestFace", "can_be_message"]
