"""The five-minute path: an ordinary PyTorch loop under a plan, recorded for `tempomat doctor`.

Usage: python examples/quickstart/train.py [RUN_FOLDER]
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.runs import Recorder
from tempomat.torch import Scheduler

torch.set_num_threads(1)  # a net this small is slower on several
torch.manual_seed(0)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters())
train, val = torch.arange(1408), torch.arange(1408, len(images))

plan = tm.load_plan(Path(__file__).parent / "plan.yaml")
scheduler = Scheduler(optimizer, plan)  # changes nothing yet; a torch LRScheduler
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")

with Recorder(folder, plan=scheduler.plan, seed=0) as recorder:
    for _epoch in range(20):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            loss = cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            clip = scheduler.values["grad_clip"]  # a value that the loop reads by itself
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            recorder.write(scheduler, train_loss=loss.item(), grad_norm=norm.item())
            scheduler.step()
        with torch.no_grad():
            scores = model(images[val])
        recorder.write(
            scheduler,
            val_loss=cross_entropy(scores, labels[val]).item(),
            val_accuracy=(scores.argmax(1) == labels[val]).float().mean().item(),
        )

accuracy = (scores.argmax(1) == labels[val]).float().mean().item()
print(f"validation accuracy {accuracy:.1%}; the record is in {folder}")
