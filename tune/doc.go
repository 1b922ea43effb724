// Package tune fine-tunes a model by a recipe: it finds the data by name, tells
// what the run needs before it begins, trains, tests, and leaves an adapter that
// mlx-lm reads, with a manifest and a log beside it.
//
//	r := tune.New() // mlx-lm's defaults
//	r.Model, r.Data, r.AdapterPath, r.Train = "./model", "./data", "adapters", true
//	result, err := tune.Run(ctx, r, tune.Options{})
//
// [New] is the way in. A [Recipe] is a plain struct; [Recipe.Set] fills it from
// configs, by the names that mlx-lm has for the settings. [Run] does all that a
// recipe says. [Open] gives a [Job] instead, for those who want to ask the model
// or measure it between the steps, and [FindData] opens rows alone.
//
// A run that was stopped or killed goes on when its recipe is run again, and gives what it
// would have given without the stop: see [Options].
//
// The package prints nothing: events go to Options.Report (see package run), and
// mistakes of the user are faults of settings (see package fault).
package tune
