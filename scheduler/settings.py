"""What an operator may set: SCHEDULER_* variables and .env, read once, by the service.

The command line's options win over the environment, the environment over .env.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scheduler.errors import InvalidOption, SchedulerError
from scheduler.retention import FINISHED, Retention
from scheduler.rules.zones import zone

_DAY = 24 * 60 * 60
_CENTURY = 36_525 * _DAY


class Settings(BaseSettings):
    """Every setting, with its default; durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="SCHEDULER_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    database: str = "sqlite:///scheduler.db"
    """URL of the store: sqlite:///file, postgresql://user@host/name and others."""
    modules: Annotated[tuple[str, ...], NoDecode] = ("jobs",)
    """Packages or modules that declare jobs, separated by commas; packages recursively."""
    default_timezone: str = "UTC"
    """The zone of rules that name none."""
    queue: str | None = None
    """The queue whose jobs this process runs; unset: every queue's."""
    concurrency: int = Field(10, ge=1, le=10_000)
    """How many handlers run at a time in this process."""
    max_retries: int = Field(3, ge=0)
    """Retries of a job that does not say."""
    ttl: float = Field(60, gt=0)
    """Life of a lease: an executor that dies is noticed after so long."""
    processing_interval: float = Field(1.0, gt=0)
    """How often an idle executor looks for jobs that nothing announced."""
    prefetch_batch_size: int = Field(0, ge=0)
    """Jobs leased ahead of free slots."""
    ageing: float | None = Field(None, gt=0)
    """Jobs due for so long go before all others, whatever their priority; unset: none do."""
    max_result_bytes: int = Field(256 * 1024, ge=1, le=2**31 - 1)
    """How much JSON a handler may return; a job whose result is more fails."""
    dask_address: str | None = None
    """The scheduler of the Dask cluster for jobs with runner="dask": tcp://host:8786."""
    retention_completed: float | None = Field(30 * _DAY, ge=0, le=_CENTURY)
    """How long a job stays on record after it completed; "forever" keeps it."""
    retention_failed: float | None = Field(90 * _DAY, ge=0, le=_CENTURY)
    """How long one stays that failed; "forever" keeps it."""
    retention_cancelled: float | None = Field(30 * _DAY, ge=0, le=_CENTURY)
    """How long one stays that was cancelled; "forever" keeps it."""
    shutdown_grace: float = Field(30, ge=0)
    """How long running handlers may go on after a signal to stop."""
    web: bool = True
    """Serve the HTTP API."""
    host: str = "127.0.0.1"
    """Address of the HTTP API. There is no sign-in yet: keep it on loopback."""
    port: int = Field(8080, ge=0, le=65535)
    """Port of the HTTP API; 0 takes a free one."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "auto"
    """console, json, or auto: console on a terminal, else json."""

    @field_validator("modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator(*(f"retention_{status}" for status in FINISHED), mode="before")
    @classmethod
    def _for_ever(cls, value: object) -> object:
        return None if value == "forever" else value

    @field_validator("default_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        return _one_of(value.lower(), ("debug", "info", "warning", "error"))

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        return _one_of(value.lower(), ("auto", "console", "json"))

    @property
    def lease_ttl(self) -> timedelta:
        return timedelta(seconds=self.ttl)

    @property
    def retention(self) -> Retention:
        return Retention(
            completed=self.retention_completed,
            failed=self.retention_failed,
            cancelled=self.retention_cancelled,
        )


class Described(NamedTuple):
    """One setting, as `scheduler config` shows it."""

    name: str
    variable: str
    value: Any
    meaning: str


def described(settings: Settings) -> list[Described]:
    """Every setting with its value, the password of the database hidden."""
    shown = settings.model_dump(mode="json") | {"database": redacted(settings.database)}
    return [
        Described(name, _variable(name), shown[name], field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def redacted(url: str) -> str:
    """`url` with its password hidden, and its query's too; as it is if it has none."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from scheduler.storage.sql.dialects import shown

    try:
        return shown(make_url(url))
    except (ArgumentError, ValueError):
        return "a URL that cannot be read"


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"is not one of {', '.join(allowed)}")
    return value


def read_settings(**given: Any) -> Settings:
    """The settings, with the `given` ones (None: not given) over the environment's.

    Raises InvalidOption naming the variable, its value and what is allowed.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        cause = first.get("ctx", {}).get("error")
        reason = str(cause) if isinstance(cause, SchedulerError) else first["msg"]
        where = f"--{name.replace('_', '-')}" if given.get(name) is not None else _variable(name)
        raise InvalidOption(where, first["input"], reason.removeprefix("Value error, ")) from None


def _variable(name: str) -> str:
    return f"SCHEDULER_{name.upper()}"
