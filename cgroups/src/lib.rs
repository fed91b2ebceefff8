//! Cgroups: puts a process under limits and accounts for it. Cgroup v2 only. Not its job: what the process sees.
