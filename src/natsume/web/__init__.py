"""The status API over HTTP: an ASGI application to mount in a service; needs the extra `web`."""

from natsume.web.api import status_api

__all__ = ["status_api"]
