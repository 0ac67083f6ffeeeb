"""One of the processes that a fault's test launches: Accelerate's way with a scheduler of PyTorch's, and with ours."""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from runtime.toys import held, sgd
from torch.optim.lr_scheduler import LambdaLR

import tempomat as tm
from tempomat.torch import Scheduler

UPDATES = 3


def main(folder: Path) -> None:
    """Write what each scheduler has come to after as many updates."""
    accelerator = Accelerator(cpu=True)
    optimizers = [sgd(lr=1.0), sgd(lr=1.0)]
    theirs = LambdaLR(optimizers[0], lambda count: 1.0 - count / 10)
    ours = Scheduler(optimizers[1], tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=10)}))
    prepared = [accelerator.prepare(*pair) for pair in zip(optimizers, (theirs, ours), strict=True)]
    for _ in range(UPDATES):
        for optimizer, scheduler in prepared:
            optimizer.step()
            scheduler.step()
    found = {"processes": accelerator.num_processes, "theirs": theirs.last_epoch, "counts": ours.counts}
    found["lr"] = [held(optimizer)[0] for optimizer in optimizers]
    path = folder / f"result-{accelerator.process_index}.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
