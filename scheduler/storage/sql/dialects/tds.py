"""SQLAlchemy over python-tds: the dialect of sqlalchemy-pytds, with what it leaves open mended.

A broken connection and a failed handshake are errors of the database; text is sent as what it is
compared with; certificates are of the host they name. Imported only when a SQL Server is
connected to, as the drivers may not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, ClassVar

import pytds
from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, SubjectAlternativeName
from OpenSSL.crypto import X509
from OpenSSL.SSL import Error as TLSError
from pytds import tds_types, tls
from sqlalchemy.dialects import registry
from sqlalchemy_pytds.dialect import MSDialect_pytds

NAME = "mssql+scheduler"
"""What a URL calls this dialect; sqlalchemy-pytds's own stays as it is."""

_FATAL = 20
"""Errors of this severity or more end the connection."""

_SHORT = 2000
"""The longest text in characters that fits NVARCHAR(4000), whatever the characters."""

_Parameters = Mapping[str, Any]


class Dialect(MSDialect_pytds):  # type: ignore[misc]
    """python-tds, for this package alone."""

    supports_statement_cache = True
    insertmanyvalues_max_parameters = 2098  # of 2,100: sp_executesql has two of its own
    # By the names of their classes: the driver's root of errors, and the two it lets through.
    dbapi_exception_translation_map: ClassVar[dict[str, str]] = {
        "Error": "OperationalError",
        "OSError": "OperationalError",
    }

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver, to which what the network and TLS raise are errors too."""
        return SimpleNamespace(**{**vars(pytds), "Error": (pytds.Error, OSError, TLSError)})

    def connect(self, *arguments: Any, **given: Any) -> Any:
        try:
            return super().connect(*arguments, **given)
        except TimeoutError as error:
            # The driver tried again and again: what it met says more than that it gave up.
            raise error.__cause__ or error from None
        except TLSError as error:
            raise pytds.OperationalError(f"TLS: {_reasons(error)}") from error

    def is_disconnect(self, error: BaseException, connection: Any, cursor: Any) -> bool:
        broken = isinstance(error, OSError | TLSError | pytds.InterfaceError)
        return broken or getattr(error, "severity", 0) >= _FATAL

    def do_execute(
        self, cursor: Any, statement: str, parameters: _Parameters, context: Any = None
    ) -> None:
        super().do_execute(cursor, statement, typed(parameters), context)

    def do_executemany(
        self, cursor: Any, statement: str, parameters: Sequence[_Parameters], context: Any = None
    ) -> None:
        for each in parameters:
            cursor.execute(statement, typed(each))
            # Else the driver would cancel what is left of the answer, by a message of its own.
            while cursor.nextset():
                pass


def _reasons(error: TLSError) -> str:
    """What OpenSSL says of a handshake, of its list of library, function and reason."""
    match error.args:
        case (list(errors),):
            return "; ".join(reason for *_, reason in errors)
    return str(error)


def typed(parameters: _Parameters) -> dict[str, Any]:
    """`parameters` with the types of short texts and of NULLs.

    The driver sends any text as NVARCHAR(max). What is compared with that is not sought in an
    index by equality, and is filtered only after the rows were read and locked. It writes NULLs
    into the statement, where several rows of them are integers, which not every column takes.
    """
    return {name: _typed(value) for name, value in parameters.items()}


def _typed(value: Any) -> Any:
    if value is None or (isinstance(value, str) and len(value) <= _SHORT):
        return pytds.tds_base.Param(type=tds_types.NVarCharType(size=2 * _SHORT), value=value)
    return value


def is_of_host(cert: X509, name: bytes) -> bool:
    """Whether a server's certificate is for the host of this name or address (RFC 6125)."""
    try:
        extensions = cert.to_cryptography().extensions
        names = extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return False
    host = name.decode().lower()
    try:
        return ip_address(host) in names.get_values_for_type(IPAddress)
    except ValueError:
        domain = host.partition(".")[2]
        named = {each.lower() for each in names.get_values_for_type(DNSName)}
        return host in named or ("." in domain and f"*.{domain}" in named)


# The driver's own asks pyOpenSSL for what it has no more, and fails (python-tds's issue 199).
tls.validate_host = is_of_host
registry.register(NAME.replace("+", "."), __name__, Dialect.__name__)
