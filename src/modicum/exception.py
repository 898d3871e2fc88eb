"""Every error that a caller can meet, ordered by what he can do about it.

    Error
    ├── fix your code      InvalidError, ExecutionError, SerializationError, DeserializationError,
    │                      DeprecationError (a warning)
    ├── fix your request   NotFoundError, AlreadyExistsError, PermissionDeniedError, AuthError, RequestSizeError
    ├── try again          ConnectionError, TimeoutError, ResourceExhaustedError, ServiceError
    │                      TimeoutError: FunctionTimeoutError, OutputExpiredError
    ├── ask the operator   ImageBuildError, VersionError, UnimplementedError
    └── a container's fate RemoteError (user code ended in a way that has no exception), InternalFailure (ours)

`TimeoutError` here is not the built-in one: `FunctionCall.get(timeout=…)` raises the built-in one for "not ready yet",
so that `except TimeoutError` never mistakes a function that timed out for one that still runs.
"""

from __future__ import annotations

TYPE_CHECKING = False


class Error(Exception):
    """The root of all errors that Modicum raises."""


class InvalidError(Error):
    """The program uses Modicum in a way that cannot work."""


class ExecutionError(Error):
    """Something cannot be done here: an object used in the wrong place, or a value that cannot be loaded."""


class SerializationError(Error):
    """A value cannot be sent to another process."""


class DeserializationError(Error):
    """A value that was sent cannot be made where it arrived."""


class NotFoundError(Error):
    """The named object does not exist."""


class AlreadyExistsError(Error):
    """An object of that name exists already."""


class PermissionDeniedError(Error):
    """Whoever asks may not do this."""


class AuthError(Error):
    """The credentials are missing or wrong."""


class ConflictError(InvalidError):
    """The object is not in a state in which this is possible."""


class RequestSizeError(Error):
    """A value is larger than the platform takes."""


class ConnectionError(Error):
    """The server cannot be reached."""


class TimeoutError(Error):
    """Something took longer than it was allowed. Not the built-in `TimeoutError`."""


class FunctionTimeoutError(TimeoutError):
    """A function ran longer than its `timeout`."""


class OutputExpiredError(TimeoutError):
    """The output was kept for its time and is gone."""


class ResourceExhaustedError(Error):
    """A limit has been reached; the same request may succeed later."""


class ServiceError(Error):
    """The server failed to do it, and it is not the caller's fault."""


class InternalError(ServiceError):
    """A fault of ours; the server's log has the details."""


class InternalFailure(Error):
    """The platform lost the input; the user's code is not to blame."""


class UnimplementedError(Error):
    """The server does not know this request: it is of another version."""


class VersionError(Error):
    """Client and server do not speak the same protocol."""


class ImageBuildError(Error):
    """An image could not be built. `image_id` names it."""

    def __init__(self, message: str, image_id: str | None = None) -> None:
        super().__init__(message)
        self.image_id = image_id


class RemoteError(Error):
    """The function ended without an exception that could be sent: it crashed, was cancelled, or raised one that
    does not pickle.
    """


class InputCancellation(BaseException):
    """Raised in running code when its input is cancelled."""


class DeprecationError(UserWarning, DeprecationWarning):
    """An older name was used; it works, and the warning names the present one."""


class AsyncUsageWarning(UserWarning):
    """A blocking method was called where an event loop runs; use its `.aio` twin."""


_BY_CODE: dict[str, type[Error]] = {
    "invalid": InvalidError,
    "not_found": NotFoundError,
    "expired": OutputExpiredError,
    "already_exists": AlreadyExistsError,
    "permission_denied": PermissionDeniedError,
    "conflict": ConflictError,
    "resource_exhausted": ResourceExhaustedError,
    "unauthenticated": AuthError,
    "unimplemented": UnimplementedError,
    "request_size": RequestSizeError,
    "image_build": ImageBuildError,
    "version": VersionError,
    "internal": InternalError,
}


def from_code(code: str, message: str) -> Error:
    """Return the exception that a server's error code stands for."""
    return _BY_CODE.get(code, ServiceError)(message)


if not TYPE_CHECKING:  # a type checker sees that other names are not there

    def __getattr__(name: str) -> object:
        from modicum._missing import missing

        raise missing("modal.exception", name, globals())
