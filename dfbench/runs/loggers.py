"""The loggers of a run: made from ``--log``, told of events, switched off where they fail."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from dfbench.errors import PluginError, UsageError, unknown
from dfbench.runs.events import Event, ExperienceStarted, Logger, TrainingStep
from dfbench.runs.report import Reporter

if TYPE_CHECKING:
    import torch

    from dfbench.plugins import Registry


def parse_logger(text: str) -> tuple[str, dict[str, str]]:
    """The name and the options of ``NAME[:key=value,key=value]``.

    Raises:
        UsageError: an option is not of that form.
    """
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise UsageError(f"--log {text}: {part!r} is not KEY=VALUE; write --log {name}:key=value,key=value")
        options[key] = value
    return name, options


def make_loggers(requests: Sequence[str], registry: Registry) -> dict[str, Logger]:
    """The loggers asked for, by name.

    Raises:
        UsageError: a name, an option or a value is wrong, or a logger is asked for twice.
        PluginError: a package that it needs is missing, or it is broken.
    """
    made: dict[str, Logger] = {}
    for text in requests:
        name, options = parse_logger(text)
        if name in made:
            raise UsageError(f"--log {name} is given twice; one logger of a kind a run")
        kind = registry.loggers.load(name)
        for key in options:
            if key not in kind.Config.model_fields:
                raise unknown(f"--log option of logger {name}", key, kind.Config.model_fields)
        try:
            config = kind.Config.model_validate({key: _value(value) for key, value in options.items()})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"--log {name}:{key}={first['input']} of logger {name}: {first['msg'].removeprefix('Value error, ')}"
            ) from error
        try:
            made[name] = kind(config)
        except (PluginError, UsageError) as error:
            raise type(error)(f"--log {name}: {error}") from error
        except Exception as error:
            raise PluginError(f"--log {name}: {type(error).__name__}: {error}") from error
    return made


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, dict | list) else value


class Events:
    """Hands events on to loggers; one that fails is reported once and told of nothing more.

    Args:
        warn: takes a line for the user.
    """

    def __init__(self, loggers: Mapping[str, Logger], warn: Callable[[str], None]) -> None:
        self._loggers = dict(loggers)
        self._warn = warn
        self._every = {name: logger.config.every for name, logger in self._loggers.items()}
        self._number = self._base = 0

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def emit(self, event: Event) -> None:
        """Tell every logger."""
        if isinstance(event, ExperienceStarted):
            self._number, self._base = event.number, event.step
        for name in tuple(self._loggers):
            self._tell(name, event)

    def step(self, done: int, total: int, loss: torch.Tensor) -> None:
        """A training step was made. The loss is read from the device only for a logger that is due."""
        due = [name for name in self._loggers if done % self._every[name] == 0 or done == total]
        if due:
            event = TrainingStep(self._number, done, total, self._base + done, float(loss))
            for name in due:
                self._tell(name, event)

    def avalanche_plugins(self) -> list[Any]:
        """The Avalanche plugins of all loggers; each is switched off where it fails."""
        plugins: list[Any] = []
        for name in tuple(self._loggers):
            with self._guarded(name):
                plugins += [Watched(plugin, name, self._warn) for plugin in self._loggers[name].avalanche_plugins()]
        return plugins

    def close(self) -> None:
        """The run is over."""
        for name in tuple(self._loggers):
            with self._guarded(name):
                self._loggers[name].close()
        self._loggers.clear()

    def through(self, reporter: Reporter) -> Reporter:
        """A reporter that tells ``reporter`` everything, and the loggers of training steps too."""
        return _Both(reporter, self) if self else reporter

    def _tell(self, name: str, event: Event) -> None:
        with self._guarded(name):
            self._loggers[name].event(event)

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """What a logger prints goes to stderr, what it draws changes no result, what it raises ends nothing."""
        try:
            with contextlib.redirect_stdout(sys.stderr), same_randomness():
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a logger must not end a run
            self._loggers.pop(name, None)
            self._warn(f"{_failure(name, error)}; it is off from here, the run goes on")


class Watched:
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


@contextlib.contextmanager
def same_randomness() -> Iterator[None]:
    """Python's, numpy's and torch's generators are afterwards what they were before."""
    import numpy as np
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class _Both(Reporter):
    """A reporter, and events beside it."""

    def __init__(self, inner: Reporter, events: Events) -> None:
        self._events = events
        self.notice, self.data = inner.notice, inner.data  # type: ignore[method-assign]
        self.training, self.evaluating, self.tested = inner.training, inner.evaluating, inner.tested  # type: ignore[method-assign]
        self._step = inner.step

    def step(self, done: int, total: int, loss: torch.Tensor) -> None:
        """A training step was made."""
        self._step(done, total, loss)
        self._events.step(done, total, loss)


def _failure(name: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"logger {name} failed ({type(error).__name__}{': ' if text else ''}{text})"
