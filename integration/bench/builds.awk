# After medians.awk: the table of builds, and the ratios that matter.
BEGIN { unit = 1000000 }
END {
	printf "%-9s %-8s %9s %9s %10s %9s\n", "program", "build", "median s", "quarter", "3 quarters", "peak MiB"
	rows_shown()
	split("cold 0.5 0.5 cached - 0.6 changed - 0.5", wanted, " ")
	for (i = 1; i in wanted; i += 3) {
		against(wanted[i], "buildah", wanted[i + 1])
		against(wanted[i], "buildkit", wanted[i + 2])
		most = larger(most, memory["dhow." wanted[i]])
	}
	printf "%-42s %.1f MiB (at most 100)\n", "peak memory of dhow", most / 1024
}
function shown(program, kind) {
	# BuildKit's own memory is its daemon's, which is not measured.
	return sprintf("%-9s %-8s %9.3f %9.3f %10.3f %9s", program, kind, at(0.5), at(0.25), at(0.75), \
		program == "buildkit" ? "-" : sprintf("%.1f", peak / 1024))
}
function against(kind, other, most) {
	ratio(kind ": dhow / " other (most == "-" ? "" : " (at most " most ")"), "dhow." kind, other "." kind)
}
