"""The loggers of a run: what one is, how ``--log`` makes them, and how one that fails is switched off."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dfbench.documents import MalformedError, load_yaml
from dfbench.errors import DataError, PluginError, UsageError, in_one_line, unknown
from dfbench.runs import events
from dfbench.runs.events import Event, Listener, ProgressEvent

if TYPE_CHECKING:
    from dfbench.plugins import Registry


class LoggerConfig(BaseModel):
    """Options of a logger; ``--log NAME:key=value,key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(50, ge=1, description="training steps from one loss to the next")


class Logger:
    """Receives the events of a run; every method does nothing here.

    There is one object per run, made before anything is trained: an ``__init__`` that raises refuses the run. After
    that nothing that a logger raises ends a run: it is reported, and the logger receives nothing more.
    """

    Config: ClassVar[type[LoggerConfig]] = LoggerConfig

    def __init__(self, config: LoggerConfig) -> None:
        self.config: Any = config

    def event(self, event: Event) -> None:
        """Every event passes here; calls the method of its kind."""
        getattr(self, event.kind)(event)

    def avalanche_plugins(self) -> list[Any]:
        """Avalanche plugins (metrics, an ``EvaluationPlugin``) that only watch; asked for once, after the start.

        They are called after the strategy's own plugins, at Avalanche's callbacks, and see ``strategy`` as those do.
        """
        return []

    def close(self) -> None:
        """Release what is open; called once, however the run ended."""

    def run_started(self, event: events.RunStarted) -> None:
        """The run begins."""

    def run_resumed(self, event: events.RunResumed) -> None:
        """The run goes on; unless overridden, as if it began."""
        self.run_started(event)

    def experience_started(self, event: events.ExperienceStarted) -> None:
        """A training begins."""

    def training_step(self, event: events.TrainingStep) -> None:
        """An optimizer step."""

    def mid_training_evaluated(self, event: events.MidTrainingEvaluated) -> None:
        """Test sets were scored in the middle of a training."""

    def experience_finished(self, event: events.ExperienceFinished) -> None:
        """A training is done."""

    def evaluated(self, event: events.Evaluated) -> None:
        """All test sets were scored."""

    def run_finished(self, event: events.RunFinished) -> None:
        """The record is written."""

    def run_stopped(self, event: events.RunStopped) -> None:
        """The run ended early."""

    @staticmethod
    def require(module: str, package: str = "") -> Any:
        """Import a module that not everybody has; for ``__init__``.

        Args:
            module: Its dotted name.
            package: What to install; the first part of the module's name unless given.

        Raises:
            PluginError: It is not installed; the message has the command that installs it.
        """
        import importlib

        try:
            return importlib.import_module(module)
        except ImportError as error:
            missing = package or module.partition(".")[0]
            raise PluginError(
                f"this logger needs the package {missing}, which cannot be imported ({error}): pip install {missing}"
            ) from error


def parse_logger(text: str) -> tuple[str, dict[str, str]]:
    """The name and the options of ``NAME[:key=value,key=value]``.

    Raises:
        UsageError: An option is not of that form, or is given twice.
    """
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise UsageError(f"--log {text}: {part!r} is not KEY=VALUE; write --log {name}:key=value,key=value")
        if key in options:
            raise UsageError(f"--log {text}: {key} is given twice; give it once")
        options[key] = value
    return name, options


def make_loggers(requests: Sequence[str], registry: Registry) -> dict[str, Logger]:
    """The loggers asked for, by name.

    Raises:
        UsageError: A name, an option or a value is wrong, or a logger is asked for twice.
        PluginError: A package that it needs is missing, or it is broken.
    """
    made: dict[str, Logger] = {}
    for text in requests:
        name, options = parse_logger(text)
        if name in made:
            raise UsageError(f"--log {name} is given twice; a run has one logger of a kind")
        kind = registry.loggers.load(name, Logger)
        config = _config(kind, name, options)
        try:
            made[name] = kind(config)
        except (PluginError, UsageError) as error:
            raise type(error)(f"--log {name}: {error}") from error
        except (Exception, SystemExit) as error:
            raise PluginError(f"--log {name}: {type(error).__name__}: {in_one_line(error)}") from error
    return made


def _config(kind: type[Logger], name: str, options: dict[str, str]) -> LoggerConfig:
    for key in options:
        if key not in kind.Config.model_fields:
            raise unknown(f"--log option of logger {name}", key, kind.Config.model_fields)
    try:
        return kind.Config.model_validate({key: _value(value) for key, value in options.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"--log {name}:{key}={first['input']} of logger {name}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def _value(text: str) -> Any:
    try:
        value = load_yaml(text, origin="--log")
    except MalformedError:
        return text
    except DataError as error:
        raise UsageError(str(error)) from None
    return text if isinstance(value, dict | list) else value


class GuardedLogger(Listener):
    """A logger as a listener: its prints go to stderr, its draws change no result, its errors end nothing.

    Args:
        name: The logger's name, for messages.
        logger: It is switched off at its first failure.
        warn: Receives a line for the user.
    """

    def __init__(self, name: str, logger: Logger, warn: Callable[[str], None]) -> None:
        self._name, self._logger, self._warn = name, logger, warn
        self._every = logger.config.every
        self._on = True

    def follows(self, kind: type[Event]) -> bool:
        """Everything but what is for displays."""
        return self._on and not issubclass(kind, ProgressEvent)

    def due(self, done: int, total: int) -> bool:
        """Every so many steps, and at the last."""
        return self._on and (done % self._every == 0 or done == total)

    def event(self, event: Event) -> None:
        """Pass it on."""
        with self._guarded():
            self._logger.event(event)

    def avalanche_plugins(self) -> list[Any]:
        """The logger's Avalanche plugins; each is switched off where it fails."""
        with self._guarded():
            return [GuardedPlugin(plugin, self._name, self._warn) for plugin in self._logger.avalanche_plugins()]
        return []

    def close(self) -> None:
        """The run is over."""
        if self._on:
            with self._guarded():
                self._logger.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        from dfbench.runs.randomness import restored  # imports torch, and a listing of loggers must not

        try:
            with contextlib.redirect_stdout(sys.stderr), restored():
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a logger must not end a run
            self._on = False
            self._warn(f"{_failure(self._name, error)}; it is off from here, the run goes on")


class GuardedPlugin:
    """An Avalanche plugin of a logger: its callbacks are passed on until one fails."""

    def __init__(self, plugin: Any, name: str, warn: Callable[[str], None]) -> None:
        self._plugin, self._name, self._warn = plugin, name, warn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and the like ask before there is a plugin
            raise AttributeError(name)
        found = getattr(self._plugin, name)
        if not name.startswith(("before_", "after_")) or not callable(found):
            return found

        def callback(*args: Any, **kwargs: Any) -> Any:
            if self._plugin is None:
                return None
            try:
                return found(*args, **kwargs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._plugin = None
                self._warn(f"{_failure(self._name, error)} in {name}; its plugin is off from here, the run goes on")

        return callback


def _failure(name: str, error: BaseException) -> str:
    text = in_one_line(error)
    return f"logger {name} failed ({type(error).__name__}{': ' if text else ''}{text})"
