# After medians.awk: the table of images taken in, and the ratios that matter.
BEGIN { unit = 1000000 }
END {
	printf "%-12s %-6s %9s %9s %10s %9s\n", "program", "kind", "median s", "quarter", "3 quarters", "peak MiB"
	rows_shown()
	ratio("gzip: dhow / podman (at most 0.2)", "dhow.gzip", "podman.gzip")
	ratio("gzip: dhow / umoci (at most 0.25)", "dhow.gzip", "umoci.gzip")
	ratio("gzip: dhow / containerd (at most 0.45)", "dhow.gzip", "containerd.gzip")
	ratio("gzip: dhow / igzip and tar (at most 1)", "dhow.gzip", "bare.gzip")
	ratio("zstd: dhow / containerd (at most 0.4)", "dhow.zstd", "containerd.zstd")
	ratio("zstd: dhow / zstd and tar", "dhow.zstd", "bare.zstd")
	printf "%-42s %.0f ms (at most 100)\n", "a second time", median["dhow.again"] * 1000
	most = larger(memory["dhow.gzip"], memory["dhow.zstd"])
	printf "%-42s %.1f MiB (at most 64)\n", "peak memory of dhow", most / 1024
}
function shown(program, kind) {
	# containerd's own memory is its daemon's, which is not measured.
	return sprintf("%-12s %-6s %9.2f %9.2f %10.2f %9s", program, kind, at(0.5), at(0.25), at(0.75), \
		program == "containerd" ? "-" : sprintf("%.1f", peak / 1024))
}
