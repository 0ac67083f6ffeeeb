"""DrQ-v2 with the encoders of the gimbal pipeline."""

from tempomat_rl.drqv2.agent import DrQV2
from tempomat_rl.drqv2.config import ENCODERS, AgentConfig, AgentError, EncA, EncB, Keypoint, Original
from tempomat_rl.drqv2.memory import quiet_allocator

__all__ = [
    "ENCODERS",
    "AgentConfig",
    "AgentError",
    "DrQV2",
    "EncA",
    "EncB",
    "Keypoint",
    "Original",
    "quiet_allocator",
]
