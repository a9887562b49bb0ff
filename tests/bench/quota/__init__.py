"""The quota on a virtual clock, beside other ways to spend one."""
