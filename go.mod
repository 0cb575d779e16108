module salvage

go 1.26
