"""Gradient accumulation under autocast with a GradScaler, clipped after unscaling."""

import torch
from torch import nn

torch.manual_seed(0)

ACCUMULATE = 4

inputs = torch.randn(4096, 32)
teacher = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 10))
with torch.no_grad():
    labels = teacher(inputs).argmax(1)

model = nn.Sequential(
    nn.Linear(32, 128),
    nn.LayerNorm(128),
    nn.GELU(),
    nn.Dropout(0.1),
    nn.Linear(128, 128),
    nn.LayerNorm(128),
    nn.GELU(),
    nn.Dropout(0.1),
    nn.Linear(128, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
scaler = torch.amp.GradScaler("cpu")

for epoch in range(8):
    total = 0.0
    batches = torch.randperm(len(inputs)).split(32)
    for i, batch in enumerate(batches):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(inputs[batch]), labels[batch])
        scaler.scale(loss / ACCUMULATE).backward()
        total += loss.item()
        if (i + 1) % ACCUMULATE == 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    print(f"epoch {epoch + 1}  loss {total / len(batches):.4f}  scale {scaler.get_scale():.0f}")
