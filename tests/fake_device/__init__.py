"""A device for the tests: speaks adb's protocol to the real adb program, runs commands here, fails on demand."""

from tests.fake_device.device import FakeDevice, bundled_adb, fake_benchmark_model, fake_model
from tests.fake_device.faults import Faults

__all__ = ["FakeDevice", "Faults", "bundled_adb", "fake_benchmark_model", "fake_model"]
