# After medians.awk: the table of the runtime's verbs, and the ratios that matter.
BEGIN { unit = 1000 }
END {
	printf "%-8s %-9s %10s %10s %10s %10s\n", "program", "verb", "median ms", "quarter", "3 quarters", "peak MiB"
	rows_shown()
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
function shown(program, verb) {
	return sprintf("%-8s %-9s %10.2f %10.2f %10.2f %10.1f", program, verb, at(0.5), at(0.25), at(0.75), peak / 1024)
}
function added(text, name) { printf "%-42s %.2f ms\n", text, median[name ".filter"] - median[name ".run"] }
function cycle(text, other) {
	median["dhow.cycle"] = median["dhow.create"] + median["dhow.start"] + median["dhow.delete"]
	median[other ".cycle"] = median[other ".create"] + median[other ".start"] + median[other ".delete"]
	ratio(text, "dhow.cycle", other ".cycle")
}
