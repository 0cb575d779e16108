package cfi

import (
	"fmt"
	"slices"
)

// Format writes rules as readelf -wF does: the CFA, then number:cell for each register in names.
func Format(r Rules, names map[string]int) string {
	d := decoder{r.code}
	d.byte()
	cfa := d.rule()
	s := "exp"
	if cfa.kind == ruleRegister {
		s = fmt.Sprintf("%s%+d", r.cpu.names[cfa.reg], cfa.offset)
	}
	cells := map[int]string{}
	for reg := d.byte(); reg != 0; reg = d.byte() {
		rule := d.rule()
		cell := map[ruleKind]string{
			ruleUndefined: "u", ruleSame: "s", ruleOffset: fmt.Sprintf("c%+d", rule.offset), ruleValOffset: fmt.Sprintf("v%+d", rule.offset),
			ruleExpr: "exp", ruleValExpr: "vexp",
		}[rule.kind]
		if rule.kind == ruleRegister {
			cell = r.cpu.names[rule.reg]
		}
		if cell != "u" || reg-1 == r.cpu.PC {
			cells[int(reg-1)] = cell
		}
	}
	var order []int
	for _, n := range names {
		order = append(order, n)
	}
	slices.Sort(order)
	for _, n := range order {
		if c, ok := cells[n]; ok {
			s += fmt.Sprintf(" %d:%s", n, c)
		}
	}
	return s
}
