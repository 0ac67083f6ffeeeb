"""Train PPO on any environment of Gymnasium: `python train_ppo.py env=CartPole-v1`.

Settings are in `cfgs/ppo/`, the guide is docs/ppo.md.
"""

from pathlib import Path

from tempomat_rl.ppo.config import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "cfgs" / "ppo")
