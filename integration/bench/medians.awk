# Sorted lines `program.kind microseconds peak-KiB`: the median and the peak of each label, and a row of the table. Not its job:
# what a row looks like (`shown`) and which ratios matter, which the table's own file says; `unit` is in microseconds.
$1 != label { close_label(); label = $1; n = 0; peak = 0 }
{ time[++n] = $2; if ($3 > peak) peak = $3 }
END { close_label() }
function close_label(  part) {
	if (!label) return
	split(label, part, ".")
	seen[part[1]] = 1
	median[label] = at(0.5)
	memory[label] = peak
	row[++rows] = shown(part[1], part[2])
}
function at(share) { return time[int((n - 1) * share) + 1] / unit }
function rows_shown(  i) { for (i = 1; i <= rows; i++) print row[i]; print "" }
function larger(one, other) { return one > other ? one : other }
function ratio(text, one, other) { if (median[other]) printf "%-42s %.2f\n", text, median[one] / median[other] }
