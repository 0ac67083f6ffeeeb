"""Tempomat on PyTorch."""

from tempomat.core import MissingExtra

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("tempomat.torch needs PyTorch: pip install 'tempomat[torch]'") from error

from tempomat.torch.averaging import ScheduledAverage
from tempomat.torch.batches import Applied, Batches, BatchSampler
from tempomat.torch.clipping import ClipMeter, clip_gradients
from tempomat.torch.guarding import Rollback
from tempomat.torch.losses import weighted_loss
from tempomat.torch.measuring import GradientNoise, UpdateRatio, categorical_kl, gaussian_kl, sampled_kl
from tempomat.torch.modules import module_attribute, trainable_layers
from tempomat.torch.ranges import RangeTest, Suggestion
from tempomat.torch.ranging import range_test
from tempomat.torch.sampling import Curriculum, Mixture, Weighted, inverse_frequencies
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.shaping import Collate, Informed, cut_sequences, resize_images
from tempomat.torch.stream import BatchInfo, Order

__all__ = [
    "Applied",
    "BatchInfo",
    "BatchSampler",
    "Batches",
    "ClipMeter",
    "Collate",
    "Curriculum",
    "GradientNoise",
    "Informed",
    "Mixture",
    "Order",
    "RangeTest",
    "Rollback",
    "ScheduledAverage",
    "Scheduler",
    "Suggestion",
    "UpdateRatio",
    "Weighted",
    "categorical_kl",
    "clip_gradients",
    "cut_sequences",
    "gaussian_kl",
    "inverse_frequencies",
    "module_attribute",
    "range_test",
    "resize_images",
    "sampled_kl",
    "trainable_layers",
    "weighted_loss",
]
