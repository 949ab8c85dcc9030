"""Posts a letter to the webhook once, as JSON, over verified TLS. httpx2's host beside the control client.

Promises: every reason why it failed is in our own words, without the URL; redirects are not followed (a POST
must not wander), proxies and credentials of the environment are not used. Refuses to know about another try.
"""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

import httpx2

__all__ = ["post"]


async def post(url: str, body: bytes, ca: str, limit_s: float) -> str:
    """Post; gives why it failed, "" where it was taken (2xx). ca: a file of authorities, "" the system's."""
    try:
        trusted = _trusting(ca)
        async with (
            httpx2.AsyncClient(verify=trusted, timeout=limit_s, trust_env=False) as client,
            client.stream(
                "POST", url, content=body, headers={"content-type": "application/json", "accept": "*/*"}
            ) as answer,
        ):
            return "" if answer.is_success else f"it was answered {answer.status_code}"
    except httpx2.TimeoutException:
        return f"no answer within {limit_s:g} s"
    except httpx2.ConnectError as error:
        return f"no connection: {_reason(error)}"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"it failed ({type(error).__name__})"
    except (OSError, ssl.SSLError) as error:  # the file of authorities
        return f"webhook_ca can't be used: {error.strerror or type(error).__name__}"


def _trusting(ca: str) -> ssl.SSLContext:
    """Trust the authorities in a file, or the system's. Raises OSError, ssl.SSLError among them."""
    if ca and Path(ca).exists() and not Path(ca).is_file():  # a pipe would hold up every hook for ever
        raise OSError(errno.EINVAL, "it is no file")
    return ssl.create_default_context(cafile=ca or None)


def _reason(error: BaseException) -> str:
    """Find what lies below, which names neither URL nor secret."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({below.verify_message})"
        if isinstance(below, OSError) and below.strerror:
            return below.strerror.lower()
        below = below.__cause__ or below.__context__
    return "the server can't be reached"
