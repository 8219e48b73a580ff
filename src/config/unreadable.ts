/**
 * Why a file cannot be read, in words for whoever wrote its name.
 */
import { show } from './problem.ts'

export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return 'no such file'
    case 'ENOTDIR':
      return 'a part of its path is not a folder'
    case 'EISDIR':
      return 'it is a folder'
    case 'EACCES':
    case 'EPERM':
      return 'permission denied'
    case 'ENAMETOOLONG':
      return 'its name is too long'
    case 'ERR_INVALID_ARG_VALUE':
      return 'its name holds a character that no name of a file can hold'
    default:
      return error instanceof Error ? error.message : show(error)
  }
}
