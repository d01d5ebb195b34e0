package gateway

import (
	"errors"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
)

// Schema is the version of every JSON object that people's scripts read.
const Schema = 1

// Kind begins every object.
type Kind struct {
	Type   string `json:"type"` // "progress", "result" or "error"
	Schema int    `json:"schema"`
}

// ProgressMessage tells how far a long call is.
type ProgressMessage struct {
	Kind
	node.Progress
}

// ErrorMessage ends a call that did not succeed.
type ErrorMessage struct {
	Kind
	Status  int    `json:"status"` // the exit status of the command
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// NewProgress returns p as an object.
func NewProgress(p node.Progress) ProgressMessage {
	return ProgressMessage{Kind: Kind{"progress", Schema}, Progress: p}
}

// NewError returns err as an object with its status and hint.
func NewError(err error) ErrorMessage {
	status, hint := exit.Of(err)
	return ErrorMessage{Kind: Kind{"error", Schema}, Status: status, Message: err.Error(), Hint: hint}
}

// Err returns the error that m carries.
func (m ErrorMessage) Err() error {
	return &exit.Error{Status: m.Status, Err: errors.New(m.Message), Hint: m.Hint}
}
