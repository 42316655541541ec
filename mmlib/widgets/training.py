"""Watch a model learn, and stop it: the loss with its landmark, a held-out metric, the pace and the time left."""

import math
import threading
import time

from ipywidgets import Button, Layout, VBox

from mmlib import plots
from mmlib.check import check_positive
from mmlib.widgets.live import Live, answer_while_cells_run

REDRAW_AFTER = 0.25  # seconds
COST = 0.015  # of the time may go into drawing


class TrainingPanel(VBox):
    """A panel for `train(..., on_step=panel.on_step, stop=panel.stop)`; make and display it in the same cell.

    `with panel:` around the training adds two things: an error is reported in the panel too, and a panel that was
    stopped can be used again.

    Args:
        steps: of the whole run.
        landmark: a loss that means something, and its name, such as `(math.log(256), "log b")`.
        metric: the key of the records' metrics that is drawn under the loss, with values from 0 to 1.

    Raises:
        ValueError: `steps` or the landmark is not positive.
    """

    css_class = "training-panel"

    def __init__(self, steps: int, landmark: tuple[float | int, str], metric: str = "validation R@1"):
        check_positive("TrainingPanel", "steps", float(steps))
        check_positive("TrainingPanel", "landmark", float(landmark[0]))
        self.steps, self.metric = steps, metric
        self.stop = threading.Event()
        self.stop_button = Button(description="Stop", icon="stop", tooltip="Stop training after this step")
        self.stop_button.layout = Layout(width="110px")
        answer_while_cells_run(self.stop_button)
        self.stop_button.on_click(lambda button: self._stop())
        self._draw_empty(*landmark)
        super().__init__([self.stop_button, self.live.image, self.live.words])
        self.add_class(self.css_class)
        self._start_anew()
        self._show()

    def on_step(self, record: dict) -> None:
        """Take the record of one step; redraws a few times a second at most, and at the end."""
        with self.live.lock:
            if self.losses and record["step"] <= self.losses[-1][0]:
                self._start_anew()
            if not self.losses and record["step"] > 1:  # a run that was taken up again: its earlier steps tell no pace
                self._begun = record["step"], record["seconds"]
            self.losses.append((record["step"], record["loss"]))
            self.steps, self.seconds = record["steps"], record["seconds"]
            if self.metric in record["metrics"]:
                self.metrics.append((record["step"], record["metrics"][self.metric]))
            if time.perf_counter() >= self._next or self.state()["status"] != "training":
                self._show()

    def state(self) -> dict:
        """The numbers shown: step, steps, loss, metric, seconds, steps_per_second, seconds_left, status.

        The pace is that of the steps since this run began or was taken up again.
        """
        step, loss = self.losses[-1] if self.losses else (0, None)
        steps, seconds = step - self._begun[0], self.seconds - self._begun[1]
        pace = steps / seconds if steps and seconds else None
        return {
            "step": step,
            "steps": self.steps,
            "loss": loss,
            "metric": self.metrics[-1][1] if self.metrics else None,
            "seconds": self.seconds,
            "steps_per_second": pace,
            "seconds_left": (self.steps - step) / pace if pace else None,
            "status": self._status(step),
        }

    def __enter__(self) -> "TrainingPanel":
        self.stop.clear()
        self._start_anew()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is not None:
            self._error = f"{kind.__name__}: {error}".rstrip(": ")
        self._show()

    def _status(self, step: int) -> str:
        if self._error:
            return "failed"
        if step >= self.steps:
            return "finished"
        if self.stop.is_set():
            return "stopped"
        return "training" if step else "waiting"

    def _stop(self) -> None:
        self.stop.set()
        self._show()

    def _start_anew(self) -> None:
        self.losses, self.metrics, self.seconds = [], [], 0.0
        self._begun = 0, 0.0  # the step and the second from which the pace is counted
        self._next, self._error = 0.0, ""
        self.stop_button.disabled = False

    def _draw_empty(self, value: float | int, name: str) -> None:
        figure = plots.blank(388)
        left, width = 60, plots.WIDTH - 60 - 170
        self.upper = plots.place(figure, left, 30, width, 190, "training loss, in nats")
        self.lower = plots.place(figure, left, 262, width, 80, self.metric)
        for axes in (self.upper, self.lower):
            axes.set_xlim(0, self.steps)
            axes.grid(color=plots.FAINT, linewidth=0.8)
        self.upper.set_ylim(0, 1.15 * value)
        self.upper.tick_params(labelbottom=False)
        self.lower.set(ylim=(0, 1), yticks=[0, 0.5, 1])
        self.lower.set_xlabel("step", **plots.type_style())
        plots.landmark_in(self.upper, value, name)
        beside = {"transform": self.upper.get_yaxis_transform(), "va": "center"} | plots.type_style(weight="bold")
        self.upper.text(1.01, value, plots.fit(name, 160, weight="bold"), **beside)
        (self.loss_line,) = self.upper.plot([], [], color=plots.PALETTE["blue"], linewidth=1.5)
        (self.metric_line,) = self.lower.plot(
            [], [], "o-", color=plots.PALETTE["vermillion"], linewidth=2, markersize=5
        )
        self.live = Live(figure, [self.loss_line, self.metric_line])

    def _show(self) -> None:
        start = time.perf_counter()
        self.live.refresh(self._update)
        end = time.perf_counter()
        self._next = end + max(REDRAW_AFTER, (end - start) / COST)

    def _update(self) -> str:
        self._make_room()
        self.loss_line.set_data(*zip(*self.losses, strict=True) if self.losses else ([], []))
        self.metric_line.set_data(*zip(*self.metrics, strict=True) if self.metrics else ([], []))
        state = self.state()
        self.stop_button.disabled = state["status"] not in ("training", "waiting")
        return self._words(state)

    def _make_room(self) -> None:
        """Enlarge the axes for a loss above them, or for another number of steps than was announced."""
        highest = max((loss for _, loss in self.losses if math.isfinite(loss)), default=0)
        if highest > self.upper.get_ylim()[1]:
            self.upper.set_ylim(0, 1.3 * highest)
            self.live.ground_changed()
        if self.steps != self.upper.get_xlim()[1]:
            self.upper.set_xlim(0, self.steps)
            self.lower.set_xlim(0, self.steps)
            self.live.ground_changed()

    def _words(self, state: dict) -> str:
        share = f"step {state['step']} of {state['steps']}"
        numbers = ""
        if state["loss"] is not None:
            numbers = f" Loss {state['loss']:.2f}."
        if state["metric"] is not None:
            numbers += f" {self.metric} {state['metric']:.2f}."
        if state["status"] == "waiting":
            return "Waiting for the first step."
        if state["status"] == "failed":
            return f"Failed at {share}. {self._error}"
        if state["status"] == "finished":
            return f"Finished in {state['seconds']:.0f} s.{numbers}"
        if state["status"] == "stopped":
            return f"Stopped at {share} after {state['seconds']:.0f} s.{numbers}"
        pace = ""
        if state["steps_per_second"] is not None:
            pace = f", about {state['seconds_left']:.0f} s left, {state['steps_per_second']:.1f} steps a second"
        return f"Training: {share}{pace}.{numbers}"
