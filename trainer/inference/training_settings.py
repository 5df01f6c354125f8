"""Settings of a training run: the `training` section of an experiment. The defaults suit all experiments."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import InputError
from trainer.grammar.document import nearest
from trainer.rendering.probing import Probing


class Stage(BaseModel):
    """A stage of the training: its losses, and the attributes that it adds (paper, sections 3.2 and 4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field("", description="Name in reports; default: the losses.")
    losses: list[Literal["mmd", "task"]] = Field(
        ["mmd"], min_length=1, description="mmd: distance between distributions; task: score of the task network."
    )
    attributes: list[str] = Field(
        ["*"], min_length=1, description="KIND.NAME of attributes learned from this stage on; * matches anything."
    )
    epochs: int | None = Field(None, ge=1, description="Default: training.epochs.")

    @property
    def title(self) -> str:
        """Return the name of the stage, or its losses."""
        return self.name or " + ".join(self.losses)


class Frames(BaseModel):
    """Size and samples of the frames rendered during training."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    width: int | None = Field(None, ge=1, description="In pixels; default: the grammar's `render`.")
    height: int | None = Field(None, ge=1, description="In pixels; default: the grammar's `render`.")
    samples: int | None = Field(None, ge=1, description="Samples per pixel; default: the grammar's `render`.")

    @property
    def overrides(self) -> dict[str, object]:
        """Return the overrides of the grammar that set these values."""
        return {f"render.{key}": value for key, value in self.model_dump(exclude_none=True).items()}


class InferenceSettings(BaseModel):
    """The rounds in which the population is inferred."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rounds: int = Field(
        3, ge=1, description="Maximum number of rounds; inference stops earlier when the population converges."
    )
    simulations: int = Field(3000, ge=64, description="Renders per round.")
    epochs: list[int] = Field(
        [12, 4, 3],
        min_length=1,
        description="Epochs of each round over all renders so far, for 3,000 per round; the last value repeats.",
    )
    transport_passes: int = Field(
        25, ge=1, description="Training passes in which G_θ learns to map the prior to the population."
    )
    context: bool = Field(
        True, description="Condition the population on the context: class, assets, parent. false: an ablation."
    )
    widening: float = Field(1.6, ge=1, description="Ratio of a proposal's standard deviations to the population's.")
    least_width: float = Field(
        0.02, gt=0, description="Smallest standard deviation of a proposal, as a fraction of the range."
    )
    together: bool = Field(
        False,
        description="Read several kinds that occur once in every scene from the image together, without detection.",
    )
    background: float = Field(0.1, gt=0, lt=1, description="Fraction of a proposal that is uniform over the ranges.")


class TrainingSettings(BaseModel):
    """Settings that `metasim train` takes as `training.KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stages: list[Stage] = Field([Stage.model_validate({})], min_length=1, description="Stages in order; see `Stage`.")
    epochs: int = Field(8, ge=1, description="Epochs of a stage that sets none itself.")
    steps: int = Field(15, ge=1, description="Gradient descent steps per epoch.")
    batch: int = Field(64, ge=2, description="Scenes rendered per step.")
    learning_rate: float = Field(
        3e-3, gt=0, description="Adam's learning rate at the start of a stage; it follows a cosine decay."
    )
    render: Frames = Field(
        Frames.model_validate({}),
        description="Frame size and samples during training; datasets use the grammar's own; see `Frames`.",
    )
    target_images: int | None = Field(None, ge=2, description="Number of target images to use; default: all.")
    features: Literal["auto", "estimator", "natural", "inception", "random"] = Field(
        "auto",
        description="Feature space in which images are compared. estimator: the inference network's features; natural: "
        "EfficientNet-Lite0; inception: InceptionV3; random: an untrained network; auto: inception with "
        "--inception-weights, otherwise estimator, or natural with start=prior.",
    )
    layers: list[str] = Field(
        ["pool1", "pool2"], min_length=1, description="Layers of InceptionV3, if that is the feature space."
    )
    pretraining_steps: int = Field(400, ge=0, description="Steps of pre-training G_θ to the identity.")
    inference: InferenceSettings = Field(
        InferenceSettings.model_validate({}), description="Inference of the population; see `InferenceSettings`."
    )
    start: Literal["infer", "prior"] = Field(
        "infer",
        description="Where descent starts. infer: at the population inferred from the target; prior: at the "
        "grammar's own distributions, as in the paper.",
    )
    choice_renders: int = Field(
        12,
        ge=0,
        description="Render every other category if a scene has at most this many on average, else score functions.",
    )
    task_images: int | None = Field(
        None, ge=2, description="Images in each dataset that is scored; default: set by the task network."
    )
    validation_images: int = Field(
        500, ge=2, description="Labelled target images (V) on which the task network is scored."
    )
    task_pairs: int = Field(2, ge=1, description="Pairs of datasets scored per step.")
    task_sigma: float = Field(
        0.03, gt=0, description="Standard deviation of the score function's perturbations, as a fraction of the range."
    )
    task_weight: float = Field(1.0, gt=0, description="Weight of the task loss relative to the MMD.")
    threads: int = Field(1, ge=1, description="PyTorch threads; results depend on this number.")
    monitor_scenes: int = Field(512, ge=2, description="Scenes whose attributes are recorded after each epoch.")
    monitor_images: int = Field(
        256, ge=0, description="How many of these scenes are rendered for MMD² and KID; 0: none."
    )

    probing: Probing = Field(Probing(), description="Estimation of the renderer's derivative; see `Probing`.")

    def epochs_of(self, stage: int) -> int:
        """Return the epochs of a stage."""
        return self.stages[stage].epochs or self.epochs

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "TrainingSettings":
        """Return the checked settings of an experiment's `training` section.

        Raises:
            InputError: a key is unknown or a value is wrong; the message is one line.
        """
        for key in values:
            if key not in cls.model_fields:
                raise InputError(f"training.{key}: unknown key; {nearest(key, cls.model_fields)}")
        given = dict(values)
        if "probing" in given:
            given["probing"] = Probing.parse(given["probing"], "training.probing")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"training.{place} is {first['input']!r}: {first['msg'].lower()}") from None
