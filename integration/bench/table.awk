# Sorted lines `program.verb microseconds peak-KiB` to a table of medians, and the ratios that matter.
$1 != label { if (label) close_label(); label = $1; n = 0; peak = 0 }
{ time[++n] = $2; if ($3 > peak) peak = $3 }
END {
	close_label()
	printf "%-8s %-9s %10s %10s %10s %10s\n", "program", "verb", "median ms", "quarter", "3 quarters", "peak MiB"
	for (i = 1; i <= rows; i++) print row[i]
	print ""
	if (place == "inside") {
		for (p in seen) if (p != "floor") ratio("limits against none, " p, p ".limits", p ".run")
		exit
	}
	ratio("run: dhow / floor (at most 1.5)", "dhow.run", "floor.run")
	split("run 0.5 exec 0.4 start 0.3 state 0.3 delete 0.3 delete-f 0.4", wanted, " ")
	for (i = 1; i in wanted; i += 2)
		ratio(wanted[i] ": dhow / crun (at most " wanted[i + 1] ")", "dhow." wanted[i], "crun." wanted[i])
	for (i = 1; i in wanted; i += 2) ratio(wanted[i] ": dhow / runc", "dhow." wanted[i], "runc." wanted[i])
	added("the engines' default filter adds, dhow", "dhow")
	added("the engines' default filter adds, crun", "crun")
	cycle("create+start+delete: dhow / crun", "crun")
	cycle("create+start+delete: dhow / runc", "runc")
	ratio("create+start+delete: dhow / floor's run", "dhow.cycle", "floor.run")
	printf "%-42s %.1f MiB (at most 3)\n", "peak memory of dhow run", memory["dhow.run"] / 1024
}
function close_label(  part) {
	split(label, part, ".")
	seen[part[1]] = 1
	median[label] = at(0.5)
	memory[label] = peak
	row[++rows] = sprintf("%-8s %-9s %10.2f %10.2f %10.2f %10.1f", part[1], part[2], at(0.5), at(0.25), at(0.75), peak / 1024)
}
function at(share) { return time[int((n - 1) * share) + 1] / 1000 }
function ratio(text, one, other) { if (median[other]) printf "%-42s %.2f\n", text, median[one] / median[other] }
function added(text, name) { printf "%-42s %.2f ms\n", text, median[name ".filter"] - median[name ".run"] }
function cycle(text, other) {
	median["dhow.cycle"] = median["dhow.create"] + median["dhow.start"] + median["dhow.delete"]
	median[other ".cycle"] = median[other ".create"] + median[other ".start"] + median[other ".delete"]
	ratio(text, "dhow.cycle", other ".cycle")
}
