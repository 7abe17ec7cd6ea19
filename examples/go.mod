module github.com/fleetotel/telemetry/examples

go 1.26.0

replace github.com/fleetotel/telemetry => ../
