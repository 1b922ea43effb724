package compute

// A Call is an op with its buffers.
type Call struct {
	Op      Op
	Out, In []Buffer
}

// A Compiler is a Device that makes one piece of work of many ops, for callers that run the same ops on the same buffers again
// and again.
type Compiler interface {
	// Compile checks the ops as Run does, and runs none. ErrUnsupported says that some cannot be compiled.
	Compile([]Call) (Program, error)
}

// A Program is ops that were compiled. Their buffers, but for those that are freed with it, must outlive it.
type Program interface {
	// Run queues all ops, in their order.
	Run() error
	// Free gives back what the program holds. Work already handed to Run is not disturbed.
	Free()
}
