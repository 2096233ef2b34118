"""The derivative audit: automatic differentiation, finite differences and the exact derivatives compared."""

from pinnsolve.audit.derivative_audit import audit
from pinnsolve.audit.records import DerivativeAudit, Finding, Row

__all__ = ["DerivativeAudit", "Finding", "Row", "audit"]
