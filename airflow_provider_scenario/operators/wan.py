"""One operator for each of Scenario's Wan models, with its inputs as arguments.

The inputs, their order, ranges and defaults are those of the model records (``GET /models/{id}``) in ``api/records``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_scenario.exceptions import ScenarioInputError
from airflow_provider_scenario.operators.model import ScenarioModelOperator

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


class _ClipOperator(ScenarioModelOperator):
    """What the operators share that make a video of a clip: they can keep its length."""

    api_names: ClassVar[dict[str, str]] = {"video": "videoUrl", "reference_images": "refImageUrls"}
    options: ClassVar[frozenset[str]] = frozenset({"keep_length"})
    keep_length: bool | str | None = False

    def api_inputs(self) -> dict[str, Any]:
        """Return the author's inputs by the API's names; with ``keep_length`` those that keep the clip's length."""
        given = super().api_inputs()
        return {**given, "matchInputNumFrames": True, "matchInputFramesPerSecond": True} if self._keeps() else given

    def _keeps(self) -> bool:
        from airflow_provider_scenario.api.validation import truth_of

        keeps = truth_of(self.keep_length)
        if keeps is None:
            raise ScenarioInputError(
                f"keep_length must be true or false, not {self.keep_length!r}. Nothing was bought."
            )
        return keeps


class ScenarioWan21TextToVideoOperator(ScenarioModelOperator):
    """Make a video from text with Wan 2.1 (1.3B): small, quick, 16 frames a second.

    Takes besides what :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, and
    returns the same. Every input is templated.

    :param prompt: What the video shall show.
    :param aspect_ratio: Width to height of the video: ``"16:9"``, ``"9:16"``. Default ``"16:9"``.
    :param frame_num: Frames of the video, which plays at 16 a second: ``17``, ``33``, ``49``, ``65``, ``81``. Default
        ``81``.
    :param sample_steps: Sampling steps: more of them look better and take longer; 10 to 50. Default ``30``.
    :param sample_guide_scale: How closely the video follows the prompt: less leaves the model more freedom; 0 to 20.
        Default ``6``.
    :param sample_shift: Shift of the sampling schedule, 0 to 20: 8 to 12 is sensible. Default ``8``.
    :param seed: Whole number that makes the result repeatable. Default: one is drawn and returned.
    :param kwargs: ``scenario_conn_id``, ``max_cost``, ``deferrable``, ... and what every Airflow operator takes.
    """

    model = "model_wan-2-1-1-3b"

    def __init__(
        self,
        *,
        prompt: str,
        aspect_ratio: str = "16:9",
        frame_num: int = 81,
        sample_steps: int = 30,
        sample_guide_scale: float = 6,
        sample_shift: float = 8,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.aspect_ratio = aspect_ratio
        self.frame_num = frame_num
        self.sample_steps = sample_steps
        self.sample_guide_scale = sample_guide_scale
        self.sample_shift = sample_shift
        self.seed = seed


class ScenarioWan22ImageToVideoOperator(ScenarioModelOperator):
    """Make a video from a still with Wan 2.2 I2V.

    Takes besides what :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, and
    returns the same. Every input is templated.

    :param prompt: What the video shall show.
    :param image: The image the video starts from: an asset's id, or a file that is uploaded first: an absolute path, a
        URI or an ``ObjectStoragePath``. Needed with ``last_frame_image``.
    :param last_frame_image: The image the video ends on, likewise.
    :param resolution: Lines of the video: ``"720p"``, ``"480p"``. Default ``"720p"``.
    :param num_frames: Frames to make: 81 to 100. Default ``81``.
    :param frames_per_second: Frames a second: 5 to 24. Default ``16``.
    :param sample_steps: Sampling steps: more of them look better and take longer; 1 to 50. Default ``30``.
    :param sample_shift: Shift of the sampling schedule, 1 to 20: more makes more motion. Default ``5``.
    :param seed: Whole number that makes the result repeatable. Default: one is drawn and returned.
    :param kwargs: ``scenario_conn_id``, ``max_cost``, ``deferrable``, ... and what every Airflow operator takes.
    """

    model = "model_wan-2-2-i2v-a14b"

    def __init__(
        self,
        *,
        prompt: str,
        image: str | ObjectStoragePath | None = None,
        last_frame_image: str | ObjectStoragePath | None = None,
        resolution: str = "720p",
        num_frames: int = 81,
        frames_per_second: int = 16,
        sample_steps: int = 30,
        sample_shift: float = 5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.image = image
        self.last_frame_image = last_frame_image
        self.resolution = resolution
        self.num_frames = num_frames
        self.frames_per_second = frames_per_second
        self.sample_steps = sample_steps
        self.sample_shift = sample_shift
        self.seed = seed


class ScenarioWan25TextToVideoOperator(ScenarioModelOperator):
    """Make a video from text with Wan 2.5 T2V.

    Takes besides what :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, and
    returns the same. Every input is templated.

    :param prompt: What the video shall show.
    :param audio: The audio the video shall follow, 3 to 30 s, at most 15 MiB: an asset's id, or a file that is uploaded
        first: an absolute path, a URI or an ``ObjectStoragePath``.
    :param negative_prompt: What the video shall not show. Default: none.
    :param size: Width and height in pixels: ``"1280*720"``, ``"720*1280"``, ``"1920*1080"``, ``"1080*1920"``. Default
        ``"1280*720"``.
    :param duration: Length in seconds: ``5``, ``10``. Default ``5``.
    :param enable_prompt_expansion: Whether Scenario may enrich the prompt. Default ``True``.
    :param seed: Whole number that makes the result repeatable. Default: one is drawn and returned.
    :param kwargs: ``scenario_conn_id``, ``max_cost``, ``deferrable``, ... and what every Airflow operator takes.
    """

    model = "model_wan-2-5-t2v"

    def __init__(
        self,
        *,
        prompt: str,
        audio: str | ObjectStoragePath | None = None,
        negative_prompt: str | None = None,
        size: str = "1280*720",
        duration: int = 5,
        enable_prompt_expansion: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.audio = audio
        self.negative_prompt = negative_prompt
        self.size = size
        self.duration = duration
        self.enable_prompt_expansion = enable_prompt_expansion
        self.seed = seed


class ScenarioWan22ReframeOperator(_ClipOperator):
    """Bring a video into another shape with Wan 2.2 Reframe.

    The result has ``num_frames`` at ``frames_per_second``: 81 at 16 by default, about 5 s, and the rest of the clip is
    cut off. ``keep_length=True`` keeps all of it. Without it, a line in the log says before anything is paid what of
    a clip of another length is kept.

    Takes besides what :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, and
    returns the same. Every input is templated.

    :param video: The video to work on: an asset's id, or a file that is uploaded first: an absolute path, a URI
        such as ``s3://connection@bucket/clip.mp4`` or an ``ObjectStoragePath``.
    :param prompt: What the video shall show. Default: none.
    :param negative_prompt: What the video shall not show. Default: none.
    :param match_input_num_frames: Whether to make as many frames as the clip has, whatever ``num_frames`` says.
        Default ``False``.
    :param num_frames: Frames to make: 81 to 241. Default ``81``.
    :param match_input_frames_per_second: Whether to keep the clip's frame rate, whatever ``frames_per_second`` says.
        Default ``False``.
    :param frames_per_second: Frames a second: 5 to 30. Default ``16``.
    :param resolution: Lines of the video: ``"720p"``, ``"580p"``, ``"480p"``. Default ``"720p"``.
    :param aspect_ratio: Width to height of the video: ``"auto"``, ``"16:9"``, ``"1:1"``, ``"9:16"``. Default
        ``"auto"``.
    :param num_inference_steps: Inference steps: more of them look better and take longer; 2 to 50. Default ``30``.
    :param guidance_scale: How closely the video follows the prompt: 1 to 10. Default ``5``.
    :param enable_prompt_expansion: Whether Scenario may enrich the prompt. Default ``False``.
    :param acceleration: ``"regular"`` speeds the work up, ``"none"`` does not. Default ``"regular"``.
    :param video_quality: Quality of the encoding: ``"maximum"``, ``"high"``, ``"medium"``, ``"low"``. Default
        ``"high"``.
    :param video_write_mode: Whether the encoding favours speed or a small file: ``"balanced"``, ``"fast"``,
        ``"small"``. Default ``"balanced"``.
    :param num_interpolated_frames: Frames to draw between each two made by the model: 0 to 5. Default ``1``.
    :param interpolator_model: What draws the frames between: ``"film"``, ``"rife"``. Default ``"film"``.
    :param zoom_factor: Share of the frame to zoom in by, cutting its edges off: 0 to 0.9. Default ``0``.
    :param trim_borders: Whether to cut off black borders. Default ``True``.
    :param temporal_downsample_factor: Frames to leave out between each two, to be drawn again afterwards: 0 to 5.
        Default ``0``.
    :param seed: Whole number that makes the result repeatable. Default: one is drawn and returned.
    :param keep_length: Whether to keep the clip's length: it sets both ``match_input_...`` to ``True``, and wins over
        them, ``num_frames`` and ``frames_per_second``. Scenario doesn't document what becomes of a clip of fewer than
        81 or more than 241 frames, the range of ``num_frames``; it is assumed to be kept whole, and the log says so.
        Default ``False``.
    :param kwargs: ``scenario_conn_id``, ``max_cost``, ``deferrable``, ... and what every Airflow operator takes.
    """

    model = "model_wan-2-2-vace-fun-a14b-reframe"

    def __init__(
        self,
        *,
        video: str | ObjectStoragePath,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        match_input_num_frames: bool = False,
        num_frames: int = 81,
        match_input_frames_per_second: bool = False,
        frames_per_second: int = 16,
        resolution: str = "720p",
        aspect_ratio: str = "auto",
        num_inference_steps: int = 30,
        guidance_scale: float = 5,
        enable_prompt_expansion: bool = False,
        acceleration: str = "regular",
        video_quality: str = "high",
        video_write_mode: str = "balanced",
        num_interpolated_frames: int = 1,
        interpolator_model: str = "film",
        zoom_factor: float = 0,
        trim_borders: bool = True,
        temporal_downsample_factor: int = 0,
        seed: int | None = None,
        keep_length: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.video = video
        self.prompt = prompt
        self.negative_prompt = negative_prompt
        self.match_input_num_frames = match_input_num_frames
        self.num_frames = num_frames
        self.match_input_frames_per_second = match_input_frames_per_second
        self.frames_per_second = frames_per_second
        self.resolution = resolution
        self.aspect_ratio = aspect_ratio
        self.num_inference_steps = num_inference_steps
        self.guidance_scale = guidance_scale
        self.enable_prompt_expansion = enable_prompt_expansion
        self.acceleration = acceleration
        self.video_quality = video_quality
        self.video_write_mode = video_write_mode
        self.num_interpolated_frames = num_interpolated_frames
        self.interpolator_model = interpolator_model
        self.zoom_factor = zoom_factor
        self.trim_borders = trim_borders
        self.temporal_downsample_factor = temporal_downsample_factor
        self.seed = seed
        self.keep_length = keep_length


class ScenarioWan22OutpaintingOperator(_ClipOperator):
    """Widen a video's frame with Wan 2.2 Outpainting: the model draws what lies around it.

    The result has ``num_frames`` at ``frames_per_second``: 81 at 16 by default, about 5 s, and the rest of the clip is
    cut off. ``keep_length=True`` keeps all of it. Without it, a line in the log says before anything is paid what of
    a clip of another length is kept.

    Takes besides what :class:`~airflow_provider_scenario.operators.generate.ScenarioGenerateOperator` takes, and
    returns the same. Every input is templated.

    :param prompt: What the video shall show.
    :param video: The video to work on: an asset's id, or a file that is uploaded first: an absolute path, a URI
        such as ``s3://connection@bucket/clip.mp4`` or an ``ObjectStoragePath``.
    :param expand_left: Whether to widen the frame to the left. Default ``True``.
    :param expand_right: Whether to widen the frame to the right. Default ``True``.
    :param expand_top: Whether to widen the frame at the top. Default ``True``.
    :param expand_bottom: Whether to widen the frame at the bottom. Default ``True``.
    :param expand_ratio: Share of the frame's own size to add on each chosen side: 0 to 1. Default ``0.25``.
    :param negative_prompt: What the video shall not show. Default: none.
    :param reference_images: What to take the look from: a list of at most 10 images, each an asset's id or a file as
        above. Default: none.
    :param match_input_num_frames: Whether to make as many frames as the clip has, whatever ``num_frames`` says.
        Default ``False``.
    :param num_frames: Frames to make: 81 to 241. Default ``81``.
    :param match_input_frames_per_second: Whether to keep the clip's frame rate, whatever ``frames_per_second`` says.
        Default ``False``.
    :param frames_per_second: Frames a second: 5 to 30. Default ``16``.
    :param resolution: Lines of the video: ``"720p"``, ``"580p"``, ``"480p"``. Default ``"720p"``.
    :param aspect_ratio: Width to height of the video: ``"auto"``, ``"16:9"``, ``"1:1"``, ``"9:16"``. Default
        ``"auto"``.
    :param num_inference_steps: Inference steps: more of them look better and take longer; 2 to 50. Default ``30``.
    :param guidance_scale: How closely the video follows the prompt: 1 to 10. Default ``5``.
    :param enable_prompt_expansion: Whether Scenario may enrich the prompt. Default ``False``.
    :param acceleration: ``"regular"`` speeds the work up, ``"none"`` does not. Default ``"regular"``.
    :param video_quality: Quality of the encoding: ``"maximum"``, ``"high"``, ``"medium"``, ``"low"``. Default
        ``"high"``.
    :param video_write_mode: Whether the encoding favours speed or a small file: ``"balanced"``, ``"fast"``,
        ``"small"``. Default ``"balanced"``.
    :param num_interpolated_frames: Frames to draw between each two made by the model: 0 to 5. Default ``1``.
    :param interpolator_model: What draws the frames between: ``"film"``, ``"rife"``. Default ``"film"``.
    :param seed: Whole number that makes the result repeatable. Default: one is drawn and returned.
    :param keep_length: Whether to keep the clip's length: it sets both ``match_input_...`` to ``True``, and wins over
        them, ``num_frames`` and ``frames_per_second``. Scenario doesn't document what becomes of a clip of fewer than
        81 or more than 241 frames, the range of ``num_frames``; it is assumed to be kept whole, and the log says so.
        Default ``False``.
    :param kwargs: ``scenario_conn_id``, ``max_cost``, ``deferrable``, ... and what every Airflow operator takes.
    """

    model = "model_wan-2-2-vace-fun-a14b-outpainting"

    def __init__(
        self,
        *,
        prompt: str,
        video: str | ObjectStoragePath,
        expand_left: bool = True,
        expand_right: bool = True,
        expand_top: bool = True,
        expand_bottom: bool = True,
        expand_ratio: float = 0.25,
        negative_prompt: str | None = None,
        reference_images: Sequence[str | ObjectStoragePath] = (),
        match_input_num_frames: bool = False,
        num_frames: int = 81,
        match_input_frames_per_second: bool = False,
        frames_per_second: int = 16,
        resolution: str = "720p",
        aspect_ratio: str = "auto",
        num_inference_steps: int = 30,
        guidance_scale: float = 5,
        enable_prompt_expansion: bool = False,
        acceleration: str = "regular",
        video_quality: str = "high",
        video_write_mode: str = "balanced",
        num_interpolated_frames: int = 1,
        interpolator_model: str = "film",
        seed: int | None = None,
        keep_length: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.video = video
        self.expand_left = expand_left
        self.expand_right = expand_right
        self.expand_top = expand_top
        self.expand_bottom = expand_bottom
        self.expand_ratio = expand_ratio
        self.negative_prompt = negative_prompt
        self.reference_images = reference_images
        self.match_input_num_frames = match_input_num_frames
        self.num_frames = num_frames
        self.match_input_frames_per_second = match_input_frames_per_second
        self.frames_per_second = frames_per_second
        self.resolution = resolution
        self.aspect_ratio = aspect_ratio
        self.num_inference_steps = num_inference_steps
        self.guidance_scale = guidance_scale
        self.enable_prompt_expansion = enable_prompt_expansion
        self.acceleration = acceleration
        self.video_quality = video_quality
        self.video_write_mode = video_write_mode
        self.num_interpolated_frames = num_interpolated_frames
        self.interpolator_model = interpolator_model
        self.seed = seed
        self.keep_length = keep_length
