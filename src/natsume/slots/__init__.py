"""Runs tasks in processes of their own: warm and reused for medium ones, fresh for each large one."""
