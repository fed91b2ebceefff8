# Sorted lines `program.kind microseconds peak-KiB` to a table of medians, and the ratios that matter.
$1 != label { if (label) close_label(); label = $1; n = 0; peak = 0 }
{ time[++n] = $2; if ($3 > peak) peak = $3 }
END {
	close_label()
	printf "%-9s %-8s %9s %9s %10s %9s\n", "program", "build", "median s", "quarter", "3 quarters", "peak MiB"
	for (i = 1; i <= rows; i++) print row[i]
	print ""
	split("cold 0.5 0.5 cached - 0.6 changed - 0.5", wanted, " ")
	for (i = 1; i in wanted; i += 3) {
		ratio(wanted[i], "buildah", wanted[i + 1])
		ratio(wanted[i], "buildkit", wanted[i + 2])
	}
	printf "%-42s %.1f MiB (at most 100)\n", "peak memory of dhow", most / 1024
}
function close_label(  part) {
	split(label, part, ".")
	median[label] = at(0.5)
	if (part[1] == "dhow" && peak > most) most = peak
	# BuildKit's own memory is its daemon's, which is not measured.
	row[++rows] = sprintf("%-9s %-8s %9.3f %9.3f %10.3f %9s", part[1], part[2], at(0.5), at(0.25), at(0.75), \
		part[1] == "buildkit" ? "-" : sprintf("%.1f", peak / 1024))
}
function at(share) { return time[int((n - 1) * share) + 1] / 1000000 }
function ratio(kind, other, most) {
	if (!median[other "." kind]) return
	printf "%-42s %.2f\n", kind ": dhow / " other (most == "-" ? "" : " (at most " most ")"), median["dhow." kind] / median[other "." kind]
}
