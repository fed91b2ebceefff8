# Sorted lines `program.kind microseconds peak-KiB` to a table of medians, and the ratios that matter.
$1 != label { if (label) close_label(); label = $1; n = 0; peak = 0 }
{ time[++n] = $2; if ($3 > peak) peak = $3 }
END {
	close_label()
	printf "%-12s %-6s %9s %9s %10s %9s\n", "program", "kind", "median s", "quarter", "3 quarters", "peak MiB"
	for (i = 1; i <= rows; i++) print row[i]
	print ""
	ratio("gzip: dhow / podman (at most 0.2)", "dhow.gzip", "podman.gzip")
	ratio("gzip: dhow / umoci (at most 0.25)", "dhow.gzip", "umoci.gzip")
	ratio("gzip: dhow / containerd (at most 0.45)", "dhow.gzip", "containerd.gzip")
	ratio("gzip: dhow / igzip and tar (at most 1)", "dhow.gzip", "bare.gzip")
	ratio("zstd: dhow / containerd (at most 0.4)", "dhow.zstd", "containerd.zstd")
	ratio("zstd: dhow / zstd and tar", "dhow.zstd", "bare.zstd")
	printf "%-42s %.0f ms (at most 100)\n", "a second time", median["dhow.again"] * 1000
	most = memory["dhow.gzip"] > memory["dhow.zstd"] ? memory["dhow.gzip"] : memory["dhow.zstd"]
	printf "%-42s %.1f MiB (at most 64)\n", "peak memory of dhow", most / 1024
}
function close_label(  part) {
	split(label, part, ".")
	median[label] = at(0.5)
	memory[label] = peak
	# containerd's own memory is its daemon's, which is not measured.
	row[++rows] = sprintf("%-12s %-6s %9.2f %9.2f %10.2f %9s", part[1], part[2], at(0.5), at(0.25), at(0.75), \
		part[1] == "containerd" ? "-" : sprintf("%.1f", peak / 1024))
}
function at(share) { return time[int((n - 1) * share) + 1] / 1000000 }
function ratio(text, one, other) { if (median[other]) printf "%-42s %.2f\n", text, median[one] / median[other] }
