"""Converts every model with every tool, once, and measures the conversion and what came out of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock

from benchmarks.export_cost import resident
from benchmarks.peers import environments, tools
from benchmarks.peers.tools import OURS, PEERS, PRECISIONS, Command, Job, Tool
from mobilekit.parity.ledger.metrics import compare
from mobilekit.recipes.load import recipe_for
from mobilekit.store.files import sha256_of, sha256_of_json, write_json
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest

HERE = Path(__file__).parent
WORK = environments.FOLDER / "work"
RECORD = "record.json"


@dataclass(frozen=True)
class Cost:
    """What some commands took."""

    seconds: float
    memory_mb: float
    """The largest sum of the resident sizes of a command's processes, seen every 50 ms."""
    reply: str
    """What the last one printed."""
    problem: str | None
    """The last words of the one that failed."""


def run(commands: list[Command], folder: Path) -> Cost:
    """Run commands in a folder until one fails."""
    start, peak = time.perf_counter(), 0
    reply, problem = "", None
    for number, command in enumerate(commands):
        log = folder / f"command{number}.log"
        with log.open("w") as errors, (folder / "reply").open("w+") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
            process = psutil.Popen(command, cwd=folder, env=environments.variables(), **streams)
            while process.poll() is None:
                peak = max(peak, resident(process))
                time.sleep(0.05)
            output.seek(0)
            reply = output.read()
        if process.returncode != 0:
            problem = last_words(process.returncode, log.read_text() or reply)
            break
    return Cost(time.perf_counter() - start, peak / 2**20, reply, problem)


def last_words(exit_code: int, text: str) -> str:
    """Say how a command failed, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    end = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    return f"{end}: {lines[-1][:200]}" if lines else end


def folder_of(tool: Tool, model: str, precision: str) -> Path:
    """Return the folder of one conversion."""
    return WORK / model / f"{tool.name.lower().replace(' ', '-')}-{precision}"


def shared_folder(model: str) -> Path:
    """Return the folder of what all tools take."""
    return WORK / model / "shared"


def facts_of(model: str) -> dict[str, Any]:
    """Return a model's input size, MACs and limits."""
    return Job(model, PRECISIONS[0], shared_folder(model)).facts


def record_of(tool: Tool, model: str, precision: str) -> dict[str, Any] | None:
    """Return what is known of one conversion."""
    path = folder_of(tool, model, precision) / RECORD
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return content


def convert_all(models: tuple[str, ...], again: bool) -> None:
    """Make what is not there yet, or was made of something else; or, again, all of it."""
    if again:
        for model in models:
            shutil.rmtree(WORK / model, ignore_errors=True)
    pointwise()
    for model in models:
        for precision in PRECISIONS:
            convert(OURS, Job(model, precision, shared_folder(model)), _our_key(model, precision))
        for tool in PEERS:
            for precision in PRECISIONS:
                job = Job(model, precision, shared_folder(model))
                convert(tool, job, key_of(tool, job))


def pointwise() -> Path:
    """Make the files of the arithmetic limit, and return their folder."""
    folder = WORK / "pointwise"
    key = sha256_of(HERE / "pointwise.py")
    if not _is_done(folder, key):
        _renew(folder)
        _must(run([tools.request("pointwise", environments.OWN, "convert", {})], folder))
        write_json(folder / RECORD, {"key": key})
    return folder


def convert(tool: Tool, job: Job, key: str) -> None:
    """Convert, unless it is done, and write the record; a tool that fails has a record that says so."""
    folder = folder_of(tool, job.model, job.precision)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):  # two of these scripts may run at once
        if not _is_done(folder, key):
            _convert(tool, job, key, folder)


def _convert(tool: Tool, job: Job, key: str, folder: Path) -> None:
    print(f"converting {job.model} to {job.precision} with {tool.name}", flush=True)
    _renew(folder)
    cost = run(tool.commands(job), folder)
    if tool is OURS and job.precision == "float32":
        prepare(folder / "bundle", job)
    file = folder / tool.files[job.precision]
    record: dict[str, Any] = {"key": key, "tool": tool.name, "model": job.model, "precision": job.precision}
    record |= {
        "seconds": cost.seconds,
        "memory_mb": cost.memory_mb,
        "versions": environments.versions(tool.environment, tool.packages),
    }
    if file.exists():
        record |= {"file": str(file), "size_bytes": file.stat().st_size, **_measure(tool, job, file, cost)}
    else:
        record |= {"key": None, "why_not": cost.problem or "it left no file"}  # tried again the next time
    write_json(folder / RECORD, record)
    print(f"  {record.get('why_not') or record['metrics']}", flush=True)


def prepare(bundle: Path, job: Job) -> None:
    """Write what all tools take of a bundle of our own."""
    _renew(job.shared)
    _must(run([tools.request("prepare", environments.OWN, "convert", {"bundle": str(bundle)})], job.shared))


def _measure(tool: Tool, job: Job, file: Path, cost: Cost) -> dict[str, Any]:
    """Return what the delegate took, and the distance from PyTorch's outputs or why there is none."""
    delegate = _delegate(file) if file.suffix == ".tflite" else None
    if tool.name == "ExecuTorch":
        delegate = json.loads(cost.reply.splitlines()[-1])
    outputs = file.parent / "outputs.npy"
    arguments = {"file": str(file), "inputs": str(job.shared / "inputs.npy"), "outputs": str(outputs)}
    ran = run([tools.request(tool.runtime, _runs_in(tool, file), "run", arguments)], file.parent)
    if ran.problem:
        newer = file.suffix == ".tflite" and _runs_in_newer(arguments, file.parent)
        return {
            "delegate": delegate,
            "why_not": f"{'it runs in LiteRT 2.3 only' if newer else 'it does not run'}: {ran.problem}",
        }
    reference = np.load(job.shared / "reference.npy")
    metrics = compare(reference, np.load(outputs).reshape(reference.shape)).to_json()
    return {"delegate": delegate, "metrics": metrics}


def _runs_in(tool: Tool, file: Path) -> str:
    return environments.OWN if file.suffix == ".tflite" else tool.environment


def _runs_in_newer(arguments: dict[str, Any], folder: Path) -> bool:
    """Tell whether the LiteRT that litert-torch brings runs a file that mobilekit's does not."""
    return run([tools.request("litert_peer", "litert-torch", "run", arguments)], folder).problem is None


def _delegate(file: Path) -> dict[str, Any] | None:
    """Return what `mobilekit inspect` says of the delegate; a file that it cannot open has none."""
    command = [str(environments.python(environments.OWN)), "-m", "mobilekit", "inspect", str(file), "--json"]
    seen = run([command], file.parent)
    if seen.problem:
        return None
    delegate = json.loads(seen.reply)["delegate"]
    return {key: delegate[key] for key in ("partitions", "delegated", "total")}


def _our_key(model: str, precision: str) -> str:
    recipe = recipe_for(model).recipe.model_dump(mode="json")
    return sha256_of_json(
        {"recipe": recipe, "precision": precision, "source": source_digest(BUNDLE_ROOMS), **_own_sources(OURS)}
    )


def key_of(tool: Tool, job: Job) -> str:
    """Return the digest of all that decides what a peer makes."""
    taken = ["weights.safetensors", "inputs.npy", *(["calibration.npy"] if job.precision == "int8" else [])]
    shared = {name: sha256_of(job.shared / name) for name in taken}
    pins = environments.REQUIREMENTS.get(tool.environment)
    return sha256_of_json({"shared": shared, "pins": pins, "commands": tool.commands(job), **_own_sources(tool)})


def _own_sources(tool: Tool) -> dict[str, str]:
    names = ("network", "worker", *tool.sources)
    return {name: sha256_of(HERE / f"{name}.py") for name in names}


def _is_done(folder: Path, key: str) -> bool:
    path = folder / RECORD
    return path.exists() and json.loads(path.read_text())["key"] == key


def _renew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _must(cost: Cost) -> None:
    if cost.problem:
        raise SystemExit(cost.problem)
