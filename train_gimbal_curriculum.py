"""Train DrQ-v2 on the gimbal landing task: `python train_gimbal_curriculum.py lr_schedule=gentle_decay`.

Settings and their choices are in `cfgs/`, the guide is docs/lr-scheduling-guide.md.
"""

from pathlib import Path

from tempomat_rl.config import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "cfgs")
