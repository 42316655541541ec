"""What each sense is worth when the other fails: a digit seen and heard, noise on both, the answer of every model.

`FusionExplorer` owns the controls and the numbers, `Senses` the drawing.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from ipywidgets import Audio, BoundedIntText, Checkbox, Dropdown, FloatSlider, HBox, Layout, VBox
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.metrics import inverse_variance_weights
from mmlib.train import held, lock
from mmlib.widgets.clips import ROW_OF_CONTROLS
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run
from mmlib.widgets.senses import DIGITS, Senses

SAME = "the same digit"
Spoil = Callable[[Tensor, float, str], Tensor]


class FusionExplorer(VBox):
    """Choose a fusion, a digit, who writes and who speaks, and the noise on each sense, up to none at all.

    Shows what the model sees and hears (with a player), its probabilities, what every other model says of the same,
    and the weight of each sense beside the inverse-variance weight: the one that the errors of each sense alone, at
    this noise, make the best.
    Equation: w_m = (1 / var_m) / sum_k (1 / var_k)  (5.9)

    Args:
        models: name of each fusion -> a model (image=None, sound=None) -> output with `logits` and `weights`.
        alone: two such models, trained on pictures only and on sounds only.
        pictures, digits: held-out pictures with values in [0, 1], and what they show.
        waves, spoken, voices: held-out clips, what they say, and the name of who says it.
        spoil_picture, spoil_sound: (batch, level from 0 to 1, kind) -> the batch with noise.
        listen: waves to log-mel pictures.
        picture_errors, sound_errors: kind of noise -> squared error of that sense alone, at equal steps of level from
            0 to 1; more than one step.
        rate: samples a second, for the player.

    Raises:
        ValueError: no model, not one digit a picture and one digit and voice a clip, a digit that is
            written and never said, errors that are not positive.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        alone: tuple[nn.Module, nn.Module],
        pictures: Float[Tensor, "n 1 h w"],
        digits: Int[Tensor, " _"],
        waves: Float[Tensor, "k samples"],
        spoken: Int[Tensor, " _"],
        voices: Sequence[str],
        spoil_picture: Spoil,
        spoil_sound: Spoil,
        listen: Callable[[Tensor], Tensor],
        picture_errors: Mapping[str, Sequence[float]],
        sound_errors: Mapping[str, Sequence[float]],
        rate: int = 8000,
    ):
        _check_data(models, pictures, digits, waves, spoken, voices, (picture_errors, sound_errors))
        self.models, self.alone, self.rate = dict(models), alone, rate
        self.pictures, self.waves, self.listen = pictures.cpu(), waves.cpu(), listen
        self.spoil = spoil_picture, spoil_sound
        self.errors = picture_errors, sound_errors
        self._pictures_of = {d: (digits == d).nonzero()[:, 0].tolist() for d in digits.unique().tolist()}
        said = list(zip(voices, spoken.tolist(), strict=True))
        self._clip_of = {key: n for n, (v, d) in reversed(list(enumerate(said))) for key in ((v, d), d)}
        self._voices = list(voices)
        self._make_controls(voices)
        first = self.listen(self.waves[:1])
        self.senses = Senses(self.pictures.shape[2:], first.shape[1:], [*ALONE, *self.models])
        self.live = Live(self.senses.figure, self.senses.moving)
        self.player = Audio(format="wav", autoplay=False, loop=False, layout=Layout(width="300px", height="40px"))
        controls = [control for row in self.rows for control in row]
        answer_while_cells_run(*controls, self.player)
        for control in controls:
            control.observe(lambda change: self.live.refresh(self._update), "value")
        boxes = [HBox(row, layout=ROW_OF_CONTROLS) for row in self.rows]
        super().__init__([*boxes, self.live.image, self.player, self.live.words])
        self.add_class("fusion-explorer")
        self.live.refresh(self._update)

    def state(self) -> dict:
        """The numbers shown: fusion, digit, heard, picture and clip (places), picture_noise, sound_noise, blindfold,
        mute, probabilities, predicted, weights and inverse_variance (picture, sound; None where there are none), and
        answers: name of each model -> (predicted, probability of the digit seen), None for one that senses nothing.
        """
        image, wave = self._sensed()
        return self._state_of(image, None if wave is None else self.listen(wave))

    def _state_of(self, image: Tensor | None, logmel: Tensor | None) -> dict:
        digit, heard = self.digit.value, self._heard()
        asked = zip([*ALONE, *self.models], [*self.alone, *self.models.values()], strict=True)
        outputs = {name: self._ask(name, model, image, logmel) for name, model in asked}
        chosen = outputs[self.fusion.value]
        probabilities = chosen.logits[0].softmax(0) if chosen else None
        weights = chosen.weights if chosen else None
        return {
            "fusion": self.fusion.value,
            "digit": digit,
            "heard": heard,
            "picture": self._picture(),
            "clip": self._clip(),
            "picture_noise": self.picture_noise.value,
            "sound_noise": self.sound_noise.value,
            "blindfold": self.blindfold.value,
            "mute": self.mute.value,
            "probabilities": probabilities.tolist() if chosen else None,
            "predicted": int(probabilities.argmax()) if chosen else None,
            "weights": None if weights is None else weights[0].tolist(),
            "inverse_variance": self._inverse_variance() if chosen else None,
            "answers": {
                name: (int(out.logits.argmax()), out.logits[0].softmax(0)[digit].item()) if out else None
                for name, out in outputs.items()
            },
        }

    def _make_controls(self, voices: Sequence[str]) -> None:
        def choose(options: Sequence, label: str, width: int) -> Dropdown:
            return Dropdown(options=options, description=label, style=LABEL, layout=Layout(width=f"{width}px"))

        def noise(label: str) -> FloatSlider:
            wide = Layout(width="360px")
            return FloatSlider(0.0, min=0.0, max=1.0, step=0.05, description=label, style=LABEL, layout=wide)

        digits = list(self._pictures_of)
        most = min(len(places) for places in self._pictures_of.values())
        self.fusion = choose(list(self.models), "fusion", 170)
        self.digit = choose([(str(d), d) for d in digits], "digit", 110)
        writing = {"style": LABEL, "layout": Layout(width="170px")}
        self.writing = BoundedIntText(1, min=1, max=most, description=f"writing (1 to {most})", **writing)
        self.voice = choose(list(dict.fromkeys(voices)), "voice", 150)
        self.says = choose([(SAME, SAME), *((str(d), d) for d in digits)], "says", 170)
        self.picture_noise, self.sound_noise = noise("picture noise"), noise("sound noise")
        self.picture_kind = choose(list(self.errors[0]), "kind of picture noise", 260)
        self.sound_kind = choose(list(self.errors[1]), "kind of sound noise", 260)
        switch = {"indent": False, "style": LABEL, "layout": Layout(width="100px")}
        self.blindfold = Checkbox(False, description="blindfold", **switch)
        self.mute = Checkbox(False, description="mute", **switch)
        self.rows = [
            [self.fusion, self.digit, self.writing, self.voice, self.says],
            [self.picture_noise, self.picture_kind, self.blindfold],
            [self.sound_noise, self.sound_kind, self.mute],
        ]

    def _picture(self) -> int:
        return self._pictures_of[self.digit.value][self.writing.value - 1]

    def _heard(self) -> int:
        return self.digit.value if self.says.value == SAME else self.says.value

    def _clip(self) -> int:
        """By another voice if this one never says the digit."""
        return self._clip_of.get((self.voice.value, self._heard()), self._clip_of[self._heard()])

    def _sensed(self) -> tuple[Tensor | None, Tensor | None]:
        """The picture and the wave with their noise: the same noise each time, only more or less of it."""
        seen, wave = self.pictures[self._picture()][None], self.waves[self._clip()][None]
        with lock, torch.random.fork_rng(devices=[]):  # a training must not find other random numbers
            torch.default_generator.manual_seed(self._picture())
            seen = self.spoil[0](seen, self.picture_noise.value, self.picture_kind.value)
            torch.default_generator.manual_seed(self._clip())
            wave = self.spoil[1](wave, self.sound_noise.value, self.sound_kind.value)
        return None if self.blindfold.value else seen, None if self.mute.value else wave

    def _ask(self, name: str, model: nn.Module, image: Tensor | None, logmel: Tensor | None):
        if name == ALONE[0]:
            logmel = None
        if name == ALONE[1]:
            image = None
        if image is None and logmel is None:
            return None
        with held(model, training=False), torch.inference_mode():
            output = model(image=image, sound=logmel)
        if output.logits.shape != (1, DIGITS):
            got = f"logits {tuple(output.logits.shape)}"
            refuse("FusionExplorer", f"logits (b=1, classes={DIGITS})", f"{got} from {name!r}", "Digits are 0 to 9.")
        return output

    def _inverse_variance(self) -> list[float]:
        chosen = (self.picture_noise, self.picture_kind, self.blindfold), (self.sound_noise, self.sound_kind, self.mute)
        variances = []
        for errors, (level, kind, missing) in zip(self.errors, chosen, strict=True):
            at = errors[kind.value]
            measured = float(np.interp(level.value, np.linspace(0, 1, len(at)), at))
            variances.append(torch.inf if missing.value else measured)
        return inverse_variance_weights(torch.tensor(variances)).tolist()

    def _update(self) -> str:
        image, wave = self._sensed()
        try:
            logmel = None if wave is None else self.listen(wave)
            state = self._state_of(image, logmel)
        except Exception:
            self.senses.hide()  # no bars of an older answer beside the words of an error
            self.live.draw()
            raise
        self.player.layout.display = "none" if wave is None else ""
        if wave is not None:
            self.player.value = plots.to_wav(wave[0], self.rate)
        self.senses.show(state, image, logmel)
        words = words_of(state, self.picture_kind.value, self.sound_kind.value)
        chosen, voice = self.voice.value, self._voices[self._clip()]
        why = "" if voice == chosen else f", since {chosen} never says {self._heard()}"
        return f"{words} Writing {self.writing.value}, voice {voice}{why}."


ALONE = ("picture alone", "sound alone")


def words_of(state: dict, picture_kind: str, sound_kind: str) -> str:
    """What a `FusionExplorer` shows, in words."""
    digit, heard = state["digit"], state["heard"]
    if state["blindfold"] and state["mute"]:
        return "Nothing is seen and nothing is heard. Take the blindfold off, or unmute."
    seen = "sees nothing" if state["blindfold"] else f"sees a {digit} ({picture_kind} {state['picture_noise']:.2f})"
    sound = "hears nothing" if state["mute"] else f"hears “{heard}” ({sound_kind} {state['sound_noise']:.2f})"
    predicted = state["predicted"]
    sure = f"{state['probabilities'][predicted]:.0%}"
    best = f"inverse variance would give the sound {state['inverse_variance'][1]:.2f}"
    weight = (
        "It has no weights to read" if state["weights"] is None else f"Weight on the sound {state['weights'][1]:.2f}"
    )
    return f"The model “{state['fusion']}” {seen} and {sound}. It says {predicted} ({sure}). {weight}; {best}."


def _check_data(models, pictures, digits, waves, spoken, voices, errors) -> None:
    where = "FusionExplorer"
    if not models:
        refuse(where, "one fusion or more", "none")
    if len(digits) != len(pictures) or not len(spoken) == len(voices) == len(waves):
        got = f"{len(digits)} digits for {len(pictures)} pictures, {len(spoken)} digits and {len(voices)} voices"
        refuse(where, "a digit a picture, a digit and a voice a clip", f"{got} for {len(waves)} clips")
    unsaid = sorted(set(digits.tolist()) - set(spoken.tolist()))
    if unsaid:
        fix = "Record it, or show fewer."
        refuse(where, "a clip of each digit that is written", f"none of {', '.join(map(str, unsaid))}", fix)
    for table in errors:
        for kind, values in table.items():
            if len(values) < 2 or min(values) <= 0:
                fix = "They are squared errors of one sense alone, measured at levels from 0 to 1."
                refuse(where, f"two errors above 0 or more for {kind!r}", str(list(values)), fix)
