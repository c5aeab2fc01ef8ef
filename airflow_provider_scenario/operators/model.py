"""The base of the operators for one model each, with the model's inputs as arguments."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator


class ScenarioModelOperator(ScenarioGenerateOperator):
    """Base of an operator for one model. Each keyword-only argument of a subclass is an input of the model.

    A subclass sets ``model`` and keeps each input as an attribute of the same name; each is a template field::

        class VeoOperator(ScenarioModelOperator):
            model = "model_veo3"

            def __init__(self, *, prompt: str, duration: int = 8, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.prompt = prompt
                self.duration = duration

    An argument ``num_frames`` is the API's input ``numFrames``; ``api_names`` names those that differ otherwise.

    :param kwargs: What :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, but for
        ``model_id`` and ``inputs``.
    :raises TypeError: if one of these two is given.
    """

    model: ClassVar[str]
    """The model's id."""

    api_names: ClassVar[dict[str, str]] = {}
    """What the API calls an argument, where it is not the same name in camelCase."""

    options: ClassVar[frozenset[str]] = frozenset()
    """Arguments that are no inputs of the model."""

    input_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "model" not in cls.__dict__:
            return  # A subclass of such an operator: its own arguments are no inputs.
        parameters = inspect.signature(cls.__init__).parameters.values()
        own = tuple(parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY)
        cls.input_names = tuple(name for name in own if name not in cls.options)
        cls.template_fields = (*own, "scenario_conn_id", "project_id", "max_cost")
        cls.template_fields_renderers = {}

    def __init__(self, **kwargs: Any) -> None:
        if "inputs" in kwargs or "model_id" in kwargs:
            raise TypeError(f"{type(self).__name__} takes each input as an argument of its own, and knows its model.")
        super().__init__(model_id=self.model, **kwargs)

    def api_inputs(self) -> dict[str, Any]:
        """Return the author's inputs by the API's names."""
        return {self._api_name(name): getattr(self, name) for name in self.input_names}

    def argument_name(self, name: str) -> str:
        """Return the argument's name for an input of the API."""
        return next((ours for ours in self.input_names if self._api_name(ours) == name), name)

    def _api_name(self, name: str) -> str:
        return self.api_names.get(name) or re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
