"""What one inference costs an ARM core, in instructions: counted under qemu, never timed."""
