"""A Keras learning rate that is a schedule, which `to_keras` gives. Imported when that is called: it needs Keras."""

from __future__ import annotations

from typing import Any, final

from tempomat.core import ConversionError, MissingExtra, Schedule, ScheduleError
from tempomat.plan import Plan, to_data

try:
    import keras
except ModuleNotFoundError as error:
    if error.name == "keras":
        raise MissingExtra("to Keras: needs Keras 3: pip install keras") from error
    raise MissingExtra(
        f"Keras' backend needs {error.name}, which is not installed. Set KERAS_BACKEND=torch or jax before Keras is "
        "imported"
    ) from error

__all__ = ["PlannedSchedule", "keras"]


@final
@keras.saving.register_keras_serializable(package="tempomat")
class PlannedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as Keras asks for one, at the optimizer's own count of updates.

    Its config is the schedule as plain data, checked when it is read, so models are saved with it and loaded.

    Args:
        schedule: resolved, without controllers; or its plain data, as a plan writes it.
        name: what Keras shows.

    Raises:
        ConversionError: the backend has no arrays that a schedule can be evaluated on.
        PlanError: the plain data is no schedule.
    """

    def __init__(self, schedule: Any, name: str | None = None) -> None:
        if keras.backend.backend() not in ("torch", "jax"):
            raise ConversionError(
                f"Keras runs on {keras.backend.backend()}; schedules are evaluated on its torch and jax backends. "
                "Set KERAS_BACKEND before Keras is imported"
            )
        tree = Plan({"lr": schedule})["lr"]
        if not isinstance(tree, Schedule) or not tree.resolved:
            raise ConversionError("PlannedSchedule: needs a resolved schedule without controllers; use to_keras")
        self.schedule: Schedule = tree
        self.name = name

    def __call__(self, step: Any) -> Any:
        count = keras.ops.cast(
            keras.ops.convert_to_tensor(step), "int32" if keras.backend.backend() == "jax" else "int64"
        )
        return keras.ops.cast(self.schedule(count), keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """The schedule as plain data.

        Raises:
            ConversionError: it is of a shape of your own, which a file cannot name.
        """
        try:
            return {"schedule": to_data(self.schedule), "name": self.name}
        except ScheduleError as error:
            raise ConversionError(f"Keras: {error}") from None
