// Package config loads typed, documented options from flags, the environment and files.
//
// # Declaring
//
// A component declares its options next to the fields they fill. The one declaration drives lookup, error
// messages, the command line, the generated reference and the dump of effective values:
//
//	func (c *Collector) Options(s *config.Spec) {
//		config.Var(s, &c.Listen, "listen", config.Addr, config.Default("127.0.0.1:8080"), config.Doc("Address to listen on."))
//		config.Var(s, &c.Key, "key", config.String, config.Secret(), config.Deprecated("api_key"), config.Doc("Key of the storage."))
//		s.Group("limits", &c.Limits)
//	}
//
// Defaults are text and go through the parser, so they double as examples. Without [Default] an option is
// required. [Spec.Group] puts a component under a namespace, so components make a tree. The option max_body of
// the group limits is, in a program whose variables begin with SALVAGE_,
//
//	--limits-max-body           on the command line
//	SALVAGE_LIMITS_MAX_BODY     in the environment and in .env files
//	limits.max_body             in maps, and in YAML and INI files the key max_body of limits
//
// [Choose] lets the configuration name one of several components, each with options of its own. A mistake
// in a declaration is a programmer's error and panics.
//
// Parsers are values: [Int], [Duration], [Bytes], [URL] and more, and [List], [MapOf], [Choice], [Optional] of
// others. An own one is a [Parser] literal; a condition on top is a [Check].
//
// # Loading
//
// [Load] asks the sources in the order given, highest precedence first, for the key and then for its
// alternates. The usual order is [Flags] or [FlagSet], [Environ], [EnvFile], then a file that package yamlfile
// or inifile reads; what nobody set is the default. Anything with the methods of [Source] takes part. An empty
// value counts as not set: the search goes on (as in Everett since 3.2).
//
// Load reports every problem of a configuration at once. Each names the setting as the person spelled it,
// where it is, its value, what is accepted, what the option is for and what to do. Misspelt variables and
// keys of files are found, too. The text of a secret is never printed.
//
// # Showing
//
// [WriteMarkdown], [WriteJSON] and [WriteEnv] write the reference of all options; [Report.Runtime] says what is
// in effect and where it comes from. Package configtest loads configurations in tests and keeps the reference
// in a file fresh.
//
// Nothing here is global; a Spec and what it fills belong to one goroutine while they load.
package config
